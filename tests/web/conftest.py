"""A real browser for the pages in web/."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

ARGS = [
    "--headless=new",
    "--no-sandbox",  # the tests also run as root, where Chromium's sandbox can't start
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # The browser's own errands would be the only traffic that leaves the machine.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Browser and Monaco need longer than the usual 5 s to start where the tests share their cores.
PATIENT_MS = 60_000
expect.set_options(timeout=PATIENT_MS)


@pytest.fixture(scope="session")
def chromium() -> Path:
    path = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
    if not path.is_file():
        pytest.fail(f"no Chromium at {path}: install it, or set CHROMIUM to its path")
    return path


# Playwright's async interface, because its sync one keeps a loop running in this thread and
# pytest-asyncio then can't start its own for the next test.
@pytest.fixture
async def browser_page(chromium: Path) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=ARGS, timeout=2 * PATIENT_MS
        )
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(PATIENT_MS)  # for each of its pages
        page = await context.new_page()
        yield page
        await browser.close()
