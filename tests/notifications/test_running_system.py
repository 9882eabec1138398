"""Server, worker and scheduler as processes: a promo that runs reaches the phone of who is near."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import ClientConnection, connect

from db.session import Database
from schema.edge.ids import global_id
from tests.factories import right_now
from tests.market import make_promo
from tests.notifications.rounds import make_person, tell
from tests.servers import end, running_server, start_auspex, token_for

pytestmark = pytest.mark.slow

PATIENCE = 90
"""Seconds; a round begins with the scheduler, and then every minute."""


@asynccontextmanager
async def subscribed(url: str, user: UUID, query: str) -> AsyncIterator[ClientConnection]:
    address = url.replace("http", "ws") + "/graphql"
    async with connect(address, subprotocols=["graphql-transport-ws"]) as opened:  # type: ignore[list-item]
        payload = {"Authorization": f"Bearer {token_for(user)}"}
        await opened.send(json.dumps({"type": "connection_init", "payload": payload}))
        assert (await told(opened))["type"] == "connection_ack"
        subscribe = {"type": "subscribe", "id": "1", "payload": {"query": query}}
        await opened.send(json.dumps(subscribe))
        yield opened


async def told(opened: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(opened.recv(), PATIENCE))
    return answer


async def test_a_running_promo_reaches_an_open_socket(
    database: Database, database_url: str, redis_address: str, tmp_path: Path
) -> None:
    variables = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_address,
        "MODEL_DIR": str(tmp_path / "models"),
    }
    person = await make_person(database)
    missed = await tell(database, person, now=right_now())
    promo = await make_promo(database)
    query = """subscription { notifications(after: "0") {
      id kind distanceMeters subject { ... on Promo { id } } } }"""
    async with (
        running_server(variables) as url,
        subscribed(url, person, query) as opened,
    ):
        first = (await told(opened))["payload"]["data"]["notifications"]
        assert first["id"] == global_id("Notification", missed)
        processes = [start_auspex(name, variables=variables) for name in ("worker", "scheduler")]
        try:
            live = (await told(opened))["payload"]["data"]["notifications"]
        finally:
            for process in processes:
                await end(process)
    assert live["kind"] == "PROMO"
    assert live["distanceMeters"] == 0
    assert live["subject"] == {"id": global_id("Promo", promo)}
