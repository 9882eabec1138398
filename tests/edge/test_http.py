"""What comes over HTTP: odd bodies are answers, secrets stay inside, pages are locked down."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette

from db.session import create_engine
from schema.edge import gate
from schema.edge.services import Policy, Services
from schema.root import schema
from tests.clients import Api

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b"3", "object"),
        (b'"text"', "object"),
        (b"null", "object"),
        (b"\xff\xfe", "JSON"),
        (b'{"query": 3}', "query"),
        (b'{"query": "{ health { status } }", "variables": []}', "variables"),
        (b'{"query": "{ health { status } }", "operationName": 3}', "operationName"),
        (b'{"query": "{ health { status } }", "extensions": 3}', "extensions"),
        (b"[" * 100_000, "JSON"),
    ],
)
async def test_a_malformed_body_is_a_clear_400(
    http: httpx.AsyncClient, body: bytes, says: str
) -> None:
    response = await http.post(
        "/graphql", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    error = response.json()["errors"][0]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["requestId"]
    assert says in error["message"]


@pytest.mark.parametrize(
    "query", ["{", "{ health }", "{ nope }", "query a { health { status } } query b { nope }"]
)
async def test_a_wrong_document_is_bad_user_input(api: Api, query: str) -> None:
    answer = await api(query)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["status"] == 400


async def test_a_missing_variable_is_bad_user_input(api: Api) -> None:
    answer = await api("query q($id: ID!) { node(id: $id) { id } }")
    assert answer.code == "BAD_USER_INPUT"
    assert "$id" in answer.errors[0]["message"]


async def test_a_body_over_a_mebibyte_is_refused_by_its_declared_size(
    http: httpx.AsyncClient,
) -> None:
    response = await http.post("/graphql", content=b"x" * (MIB + 1))
    assert response.status_code == 413
    assert "1,048,576" in response.json()["errors"][0]["message"]


async def test_a_streamed_body_over_a_mebibyte_is_refused_while_it_comes(
    http: httpx.AsyncClient,
) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 1
            yield b"x" * (64 * 1024)

    response = await http.post(
        "/graphql", content=chunks(), headers={"content-type": "application/json"}
    )
    assert response.status_code == 413


async def test_a_body_that_never_ends_is_given_up(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.1)

    async def drips() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    response = await http.post(
        "/graphql", content=drips(), headers={"content-type": "application/json"}
    )
    assert response.status_code == 408


async def test_an_unexpected_fault_is_masked_and_logged_with_its_request_id(
    api: Api,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(champions: object) -> None:
        raise RuntimeError("a secret of the inside")

    object.__setattr__(services, "policy", _production(services))
    monkeypatch.setattr(type(services.champions), "mocks", broken)
    with caplog.at_level(logging.ERROR):
        answer = await api("{ health { status } }")
    assert answer.code == "INTERNAL_SERVER_ERROR"
    assert "secret of the inside" not in str(answer.errors)
    assert answer.errors[0]["extensions"]["requestId"] == answer.headers["x-request-id"]
    assert "secret of the inside" in caplog.text


def _production(services: Services) -> Policy:
    return type(services.policy)(**{**vars(services.policy), "debug": False})


async def test_a_request_id_given_by_the_client_is_kept(http: httpx.AsyncClient) -> None:
    response = await http.get("/healthz", headers={"x-request-id": "abc-123"})
    assert response.headers["x-request-id"] == "abc-123"


async def test_a_hostile_request_id_is_replaced(http: httpx.AsyncClient) -> None:
    response = await http.get("/healthz", headers={"x-request-id": "a b;c" * 50})
    assert response.headers["x-request-id"] != "a b;c" * 50


async def test_healthz_has_its_exact_body_at_both_places(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/api/v1/healthz"):
        response = await http.get(path)
        assert (response.status_code, response.text) == (200, '{"status":"ok"}')


async def test_readyz_names_what_it_waits_for(http: httpx.AsyncClient) -> None:
    response = await http.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "database": True,
        "redis": True,
        "migrations": True,
    }


async def test_readyz_is_503_while_the_database_is_away(
    http: httpx.AsyncClient, services: Services
) -> None:
    await services.database.close()
    services.database._reads = type(services.database._reads)(_nowhere().sync_engine)
    response = await http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["database"] is False


def _nowhere() -> AsyncEngine:
    return create_engine("postgresql://nobody@127.0.0.1:1/none")


async def test_metrics_count_operations_by_root_field(api: Api) -> None:
    await api("query anyNameAtAll { health { status } }")
    text = (await api.http.get("/metrics")).text
    assert 'auspex_operations_total{field="health",kind="query"}' in text
    assert "anyNameAtAll" not in text


async def test_the_schema_document_is_served(http: httpx.AsyncClient) -> None:
    assert (await http.get("/schema.graphql")).text == schema.as_str() + "\n"


async def test_pages_may_load_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    policy = (await http.get("/healthz")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "script-src 'self' 'unsafe" not in policy


async def test_a_get_cannot_mutate(http: httpx.AsyncClient) -> None:
    query = 'mutation { login(input: {username: "a", password: "b"}) { tokenType } }'
    response = await http.get("/graphql", params={"query": query})
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_query_over_get_is_answered(http: httpx.AsyncClient) -> None:
    response = await http.get("/graphql", params={"query": "{ health { status } }"})
    assert response.json()["data"]["health"]["status"] == "ok"


class TestCrossOrigin:
    @pytest.fixture
    def settings_variables(self) -> dict[str, str]:
        return {"FRONTEND_ORIGIN": "https://shop.example", "ALLOWED_HOSTS": "auspex.test"}

    async def test_the_frontend_may_read_answers(self, http: httpx.AsyncClient) -> None:
        response = await http.get("/healthz", headers={"origin": "https://shop.example"})
        assert response.headers["access-control-allow-origin"] == "https://shop.example"

    async def test_another_origin_may_not(self, http: httpx.AsyncClient) -> None:
        response = await http.get("/healthz", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in response.headers

    async def test_another_host_header_is_refused(self, application: Starlette) -> None:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://evil.test") as client:
            assert (await client.get("/healthz")).status_code == 400
