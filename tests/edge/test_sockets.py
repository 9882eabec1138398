"""graphql-transport-ws on a real server: tokens, origins, malformed messages, expiry."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from db.models.accounts import Role
from db.models.models import ModelTask
from db.session import Database
from db.transactions.models import ModelDefinition, ensure_model, request_training
from tests.factories import make_user, right_now
from tests.servers import token_for

pytestmark = pytest.mark.slow

NO_RUN = "00000000-0000-4000-8000-000000000001"


@asynccontextmanager
async def socket(server_url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    address = server_url.replace("http", "ws") + "/graphql"
    protocol = ["graphql-transport-ws"]
    async with connect(address, subprotocols=protocol, **options) as opened:  # type: ignore[arg-type]
        yield opened


async def talk(opened: ClientConnection, message: object) -> dict[str, Any]:
    await opened.send(message if isinstance(message, str) else json.dumps(message))
    return await told(opened)


async def told(opened: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(opened.recv(), 10))
    return answer


async def greet(opened: ClientConnection, token: str | None = None) -> None:
    payload = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await talk(opened, {"type": "connection_init", "payload": payload})
    assert answer["type"] == "connection_ack"


def subscribe(query: str, id: str = "1") -> dict[str, object]:
    return {"type": "subscribe", "id": id, "payload": {"query": query}}


async def test_a_query_is_answered_over_the_socket(server_url: str) -> None:
    async with socket(server_url) as opened:
        await greet(opened)
        answer = await talk(opened, subscribe("{ health { status } }"))
        assert answer["payload"]["data"] == {"health": {"status": "ok"}}
        assert (await told(opened))["type"] == "complete"


async def test_the_token_of_the_init_message_counts(
    server_url: str, server_database: Database
) -> None:
    user = await make_user(server_database, role=Role.ADMIN)
    async with socket(server_url) as opened:
        await greet(opened, token_for(user.id))
        answer = await talk(opened, subscribe("{ me { username } }"))
        assert answer["payload"]["data"]["me"]["username"] == user.username


async def test_a_subscription_without_a_right_is_an_error_message(
    server_url: str, server_database: Database
) -> None:
    user = await make_user(server_database)
    query = f'subscription {{ trainingRunUpdated(id: "{NO_RUN}") {{ id }} }}'
    for token, code in ((None, "UNAUTHENTICATED"), (token_for(user.id), "FORBIDDEN")):
        async with socket(server_url) as opened:
            await greet(opened, token)
            answer = await talk(opened, subscribe(query))
            assert answer["type"] == "error"
            assert answer["payload"][0]["extensions"]["code"] == code


async def test_a_wrong_document_is_an_error_message_and_the_socket_lives(server_url: str) -> None:
    async with socket(server_url) as opened:
        await greet(opened)
        for query in ("{", "{ nope }", "subscription { nope }"):
            answer = await talk(opened, subscribe(query))
            assert answer["type"] == "error"
            assert answer["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        assert (await talk(opened, {"type": "ping"}))["type"] == "pong"


async def test_the_limits_of_documents_hold_on_the_socket(server_url: str) -> None:
    async with socket(server_url) as opened:
        await greet(opened)
        many = "{" + " ".join(f"a{n}: health {{ status }}" for n in range(40)) + "}"
        answer = await talk(opened, subscribe(many))
        assert answer["payload"][0]["extensions"]["code"] == "QUERY_TOO_COMPLEX"


@pytest.mark.parametrize(
    "message",
    [
        "[]",
        "3",
        "null",
        '"text"',
        "{",
        "{}",
        '{"type": 3}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "id": 1, "payload": {"query": "{ health { status } }"}}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": "1", "payload": []}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 3}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "variables": []}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "operationName": 3}}',
        '{"type": "complete"}',
        '{"type": "nonsense"}',
    ],
)
async def test_a_malformed_message_closes_with_the_code_of_the_protocol(
    server_url: str, message: str
) -> None:
    async with socket(server_url) as opened:
        await greet(opened)
        await opened.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await told(opened)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4400


async def test_a_page_of_another_origin_may_not_open_a_socket(server_url: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket(server_url, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403


async def test_a_stream_ends_when_its_token_does(
    server_url: str, server_database: Database
) -> None:
    user = await make_user(server_database, role=Role.ADMIN)
    token = token_for(user.id, timedelta(seconds=3))
    async with socket(server_url) as opened:
        await greet(opened, token)
        run = await queued_run(server_database)
        query = f'subscription {{ trainingRunUpdated(id: "{run}") {{ status }} }}'
        first = await talk(opened, subscribe(query))
        assert first["payload"]["data"]["trainingRunUpdated"]["status"] == "QUEUED"
        last = await told(opened)
        assert last["payload"]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert (await told(opened))["type"] == "complete"


async def queued_run(database: Database) -> UUID:
    definition = ModelDefinition("demo", "Demo", "A demo.", ModelTask.CLASSIFICATION, [])
    async with database.transaction() as session:
        await ensure_model(session, definition, right_now())
        return await request_training(session, "demo", promote=True, now=right_now())
