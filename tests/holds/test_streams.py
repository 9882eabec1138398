"""Holds and places in line, watched live."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from db.session import Database
from tests.edge.test_sockets import greet, socket, told
from tests.factories import make_user
from tests.holds.test_closing import buy, give_back, make_hold
from tests.holds.test_waitlists import wait
from tests.market import make_promo
from tests.servers import running_server, token_for

HOLD = """subscription ($token: String!, $tick: Int! = 0) {
  reservationUpdated(token: $token, tickSeconds: $tick) {
    status secondsRemaining serverTime expiresAt } }"""
PLACE = """subscription ($promo: ID!) { waitlistUpdated(promoId: $promo) {
  status position offer { token status } } }"""


@pytest.fixture
async def url(database_url: str, redis_address: str) -> AsyncIterator[str]:
    variables = {"DATABASE_URL": database_url, "REDIS_URL": redis_address}
    async with running_server(variables) as running:
        yield running


@asynccontextmanager
async def watching(url: str, user_id: Any, query: str, **variables: Any) -> AsyncIterator[Any]:
    """A function that waits for the next event; None after the stream has ended."""
    async with socket(url) as opened:
        await greet(opened, token_for(user_id))
        payload = {"query": query, "variables": variables}
        await opened.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))

        async def following() -> Any:
            message = await told(opened)
            if message["type"] == "complete":
                return None
            assert "errors" not in message["payload"], message
            (event,) = message["payload"]["data"].values()
            return event

        yield following


async def test_a_hold_is_shown_at_once_and_when_it_is_bought_and_then_the_stream_ends(
    database: Database, url: str
) -> None:
    hold = await make_hold(database, await make_promo(database))
    async with watching(url, hold.user_id, HOLD, token=hold.token) as following:
        assert (await following())["status"] == "HELD"
        await buy(database, hold)
        event = await following()
        assert (event["status"], event["secondsRemaining"]) == ("CONFIRMED", 0)
        assert await following() is None


async def test_a_hold_that_runs_out_says_so_though_nobody_tidies(
    database: Database, url: str
) -> None:
    hold = await make_hold(database, await make_promo(database, hold_seconds=2))
    async with watching(url, hold.user_id, HOLD, token=hold.token) as following:
        assert (await following())["status"] == "HELD"
        event = await following()
        assert event["status"] == "EXPIRED"
        assert event["serverTime"] >= event["expiresAt"]


async def test_the_countdown_ticks_by_the_servers_clock(database: Database, url: str) -> None:
    hold = await make_hold(database, await make_promo(database, hold_seconds=3))
    seen = []
    async with watching(url, hold.user_id, HOLD, token=hold.token, tick=1) as following:
        while event := await following():
            left = datetime.fromisoformat(event["expiresAt"]) - datetime.fromisoformat(
                event["serverTime"]
            )
            assert abs(event["secondsRemaining"] - max(left.total_seconds(), 0)) <= 1
            seen.append(event["secondsRemaining"])
    assert seen == sorted(seen, reverse=True)
    assert len(seen) >= 3
    assert seen[-1] == 0


async def test_a_strangers_hold_can_not_be_watched(database: Database, url: str) -> None:
    hold = await make_hold(database, await make_promo(database))
    stranger = await make_user(database)
    async with socket(url) as opened:
        await greet(opened, token_for(stranger.id))
        payload = {"query": HOLD, "variables": {"token": hold.token}}
        await opened.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        message = await told(opened)
        assert "NOT_FOUND" in str(message)


async def test_a_place_in_line_moves_up_and_becomes_an_offer(database: Database, url: str) -> None:
    promo = await make_promo(database, units=2)
    holds = [await make_hold(database, promo) for _ in range(2)]
    _, second = await wait(database, promo), await wait(database, promo)
    async with watching(url, second, PLACE, promo=str(promo)) as following:
        assert await following() == {"status": "WAITING", "position": 2, "offer": None}
        await give_back(database, holds[0])
        assert (await following())["position"] == 1
        await give_back(database, holds[1])
        event = await following()
        assert (event["status"], event["offer"]["status"]) == ("OFFERED", "HELD")
