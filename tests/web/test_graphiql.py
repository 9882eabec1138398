"""GraphiQL in a real browser, against the real server."""

import json
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import ConsoleMessage, Locator, Page, WebSocket, expect

pytestmark = pytest.mark.slow


class Watch:
    """Everything that a page asked for, sent and complained about."""

    def __init__(self, page: Page) -> None:
        self.urls: list[str] = []
        self.complaints: list[str] = []
        self.frames: list[str] = []
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("websocket", self._socket)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._message)

    def _message(self, message: ConsoleMessage) -> None:
        # A violation of the content security policy is an error here, a worker's as well.
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _socket(self, socket: WebSocket) -> None:
        self.urls.append(socket.url)
        socket.on("framesent", lambda frame: self.frames.append(str(frame)))

    def hosts(self) -> set[str]:
        return {urlsplit(url).netloc for url in self.urls if not url.startswith("data:")}


async def open_graphiql(page: Page, server_url: str) -> None:
    await page.goto(f"{server_url}/graphql")
    await expect(page.get_by_role("tab", name="Score")).to_be_visible()
    # Monaco draws the document late; before that there is no editor to run it from.
    await expect(pane(page, "query-editor")).to_contain_text("attendanceProbability")


def pane(page: Page, name: str) -> Locator:
    return page.locator(f".graphiql-{name}")


async def open_tab(page: Page, name: str) -> None:
    await page.get_by_role("tab").get_by_role("button", name=name, exact=True).click()


async def run(page: Page, operation: str | None = None) -> None:
    await page.locator(".graphiql-execute-button").click()
    if operation:
        await page.get_by_role("menuitem", name=operation, exact=True).click()


async def until(page: Page, expression: str) -> None:
    """Asked from here: in the page the content security policy forbids to evaluate later."""
    for _ in range(600):
        if await page.evaluate(expression):
            return
        await page.wait_for_timeout(100)
    raise AssertionError(f"in vain: {expression}")


async def put_token(page: Page, token: str) -> None:
    """In place of the Headers pane's template, which is one word: a double click selects it."""
    template = pane(page, "editor-tool").get_by_text("PASTE_ACCESS_TOKEN_HERE")
    await template.dblclick()
    await page.keyboard.type(token)
    await expect(template).to_have_count(0)
    # GraphiQL takes changes over a moment later, and stores what it has taken over.
    await until(page, f"JSON.stringify(sessionStorage).includes({json.dumps(token)})")


async def test_the_first_example_runs_and_nothing_leaves_the_origin(
    server_url: str, browser_page: Page, tmp_path: Path
) -> None:
    watch = Watch(browser_page)

    await open_graphiql(browser_page, server_url)
    await expect(browser_page).to_have_title("Auspex · GraphiQL")
    await run(browser_page)
    await expect(pane(browser_page, "response")).to_contain_text("riskLabel")
    await expect(pane(browser_page, "response")).not_to_contain_text("errors")

    screenshot = tmp_path / "graphiql.png"
    await browser_page.screenshot(path=screenshot)
    assert screenshot.stat().st_size > 0
    assert watch.hosts() == {urlsplit(server_url).netloc}
    assert watch.complaints == []


async def test_the_first_edit_leaves_the_open_pane_alone(
    server_url: str, browser_page: Page
) -> None:
    await open_graphiql(browser_page, server_url)
    headers = browser_page.get_by_role("button", name="Headers", exact=True)
    await headers.click()
    await browser_page.locator("section[aria-label=Headers] .view-lines:visible").click()
    await browser_page.keyboard.type("{")
    await browser_page.wait_for_timeout(500)
    await expect(headers).to_contain_class("active")


async def test_it_fits_a_phone(server_url: str, browser_page: Page, tmp_path: Path) -> None:
    await browser_page.set_viewport_size({"width": 360, "height": 740})
    await open_graphiql(browser_page, server_url)
    await run(browser_page)
    await expect(pane(browser_page, "response")).to_contain_text("riskLabel")

    await browser_page.screenshot(path=tmp_path / "graphiql-360.png")
    assert await browser_page.evaluate("document.documentElement.scrollWidth") == 360


async def test_the_schema_arrives_and_completes_fields(server_url: str, browser_page: Page) -> None:
    await open_graphiql(browser_page, server_url)
    await browser_page.get_by_role("button", name="Show Documentation Explorer").click()
    await browser_page.locator(".graphiql-doc-explorer").get_by_text("Query", exact=True).click()
    await expect(browser_page.locator(".graphiql-doc-explorer")).to_contain_text("score")

    # The completion comes from the GraphQL worker, so this proves that the worker runs.
    await pane(browser_page, "query-editor").get_by_text("modelVersion").click()
    await browser_page.keyboard.press("End")
    await browser_page.keyboard.type("\nrisk")
    # Asked before it has read the schema, the worker knows nothing: then it is asked again.
    for _ in range(10):
        await browser_page.keyboard.press("Control+Space")
        with suppress(AssertionError):
            suggested = expect(browser_page.locator(".suggest-widget"))
            await suggested.to_contain_text("riskLabel", timeout=6_000)
            return
        await browser_page.keyboard.press("Escape")
    pytest.fail("the worker completes nothing")


async def test_secrets_stay_in_the_browser_tab(server_url: str, browser_page: Page) -> None:
    await open_graphiql(browser_page, server_url)
    await open_tab(browser_page, "LogIn")
    await expect(pane(browser_page, "editor-tool")).to_contain_text("choose-a-long-one")
    await open_tab(browser_page, "Me")
    await put_token(browser_page, "sesame")
    await run(browser_page)  # the history keeps what was run
    await expect(pane(browser_page, "response")).to_contain_text("{")
    await expect(pane(browser_page, "response")).not_to_contain_text("Request not sent")
    await until(browser_page, "JSON.stringify(localStorage).includes('query Me')")
    await browser_page.wait_for_timeout(1000)  # for what must not be stored

    async def stored(where: str) -> str:
        return str(await browser_page.evaluate(f"JSON.stringify({where})"))

    local = await stored("localStorage")
    assert "query Me" in local  # the tabs are kept, the secrets inside them are not
    assert "sesame" not in local
    assert "choose-a-long-one" not in local
    assert "sesame" in await stored("sessionStorage")

    await browser_page.reload()
    await expect(pane(browser_page, "editor-tool")).to_contain_text("sesame")

    stranger = await browser_page.context.new_page()  # shares localStorage, not the session
    await stranger.goto(browser_page.url)
    await expect(pane(stranger, "editor-tool")).to_contain_text("PASTE_ACCESS_TOKEN_HERE")


async def test_a_closed_example_is_still_in_the_examples_pane(
    server_url: str, browser_page: Page
) -> None:
    await open_graphiql(browser_page, server_url)
    await open_tab(browser_page, "Me")
    await browser_page.locator(".graphiql-tab-active .graphiql-tab-close").click()
    await expect(browser_page.get_by_role("tab", name="Me")).to_have_count(0)
    tabs = "(localStorage.getItem('graphiql:tabState') ?? 'query Me')"
    await until(browser_page, f"!{tabs}.includes('query Me')")
    await browser_page.reload()
    await expect(pane(browser_page, "query-editor")).to_contain_text("mutation")
    await expect(browser_page.get_by_role("tab", name="Me")).to_have_count(0)

    await browser_page.get_by_role("button", name="Show Examples").click()
    await browser_page.get_by_role("button", name="Who am I").click()
    await expect(browser_page.get_by_role("tab", name="Me")).to_be_visible()
    await expect(pane(browser_page, "query-editor")).to_contain_text("query Me")
    await expect(pane(browser_page, "editor-tool")).to_contain_text("Authorization")


async def test_a_subscription_connects_with_the_token_of_its_tab(
    server_url: str, browser_page: Page
) -> None:
    watch = Watch(browser_page)
    await open_graphiql(browser_page, server_url)
    await open_tab(browser_page, "Train")
    await browser_page.get_by_role("button", name="Headers", exact=True).click()
    await put_token(browser_page, "sesame")
    await run(browser_page, "WatchTraining")

    # Whatever the server thinks of this token, the response pane gets an answer. X-Train-Token,
    # which is in the same pane, is for HTTP and doesn't travel along.
    await expect(pane(browser_page, "response")).to_contain_text("{")
    assert json.loads(watch.frames[0]) == {
        "type": "connection_init",
        "payload": {"Authorization": "Bearer sesame"},
    }
    assert watch.hosts() == {urlsplit(server_url).netloc}
