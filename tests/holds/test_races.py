"""Buyers at once, over several server processes and with real commits: never a unit too many.

The seed of what each client does is printed; TEST_SEED repeats a run.
"""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import insert, text

from db.errors import HoldExpired
from db.models import Profile, User
from db.queries.holds import HoldRow
from db.session import Database, create_engine
from db.transactions.holds import checkout, tidy_stock
from db.transactions.reserving import HoldRequest, reserve
from tests.factories import right_now
from tests.holds.audit import audit, counters
from tests.market import make_promo
from tests.servers import running_server, token_for

UNITS = 50
CLIENTS = 200
ROUNDS = 20
RACES = 500
AGAIN = "SERVICE_UNAVAILABLE"
MOST_RETRIES = 100

RESERVE = """mutation ($promo: ID!, $key: String) {
  reserve(input: {promoId: $promo, idempotencyKey: $key}) {
    reservation { token status } userErrors { code }
  } }"""
CHECKOUT = """mutation ($token: String!) {
  checkout(input: {token: $token}) { reservation { status } userErrors { code } } }"""
CANCEL = """mutation ($token: String!) {
  cancelReservation(token: $token) { reservation { status } userErrors { code } } }"""


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"TEST_SEED={seed}")  # noqa: T201 - what a failed run is repeated with
    return random.Random(seed)


async def make_people(database: Database, count: int) -> list[UUID]:
    """Many at once: the accounts are not what is tested."""
    async with database.transaction() as session:
        rows = await session.execute(
            insert(User).returning(User.id), [{"username": f"buyer{n}"} for n in range(count)]
        )
        ids = list(rows.scalars())
        await session.execute(
            insert(Profile), [{"user_id": user, "time_zone": "America/Bogota"} for user in ids]
        )
    return ids


@dataclass
class Buyer:
    http: httpx.AsyncClient
    token: str
    dice: random.Random

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = await self.send(query, variables)
        for _ in range(MOST_RETRIES):
            if answer.get("errors", [{}])[0].get("extensions", {}).get("code") != AGAIN:
                break
            await asyncio.sleep(0.5)  # too many at once: nothing was done, and a client asks again
            answer = await self.send(query, variables)
        assert "errors" not in answer, answer
        (payload,) = answer["data"].values()
        return dict(payload)

    async def send(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            response = await self.http.post("/graphql", json=body, headers=headers)
        except httpx.TransportError:  # an idle connection that the server closed just now
            response = await self.http.post("/graphql", json=body, headers=headers)
        return dict(response.json())

    async def live(self, promo_id: int) -> str:
        """What becomes of one customer; the name of it is for the count."""
        await asyncio.sleep(self.dice.uniform(0, 0.3))
        fate = self.dice.choices(["buy", "cancel", "abandon", "die"], [5, 2, 2, 2])[0]
        wanted = {"promo": str(promo_id), "key": f"of {promo_id}"}
        if fate == "die":
            await self.die_asking(wanted)
            return fate
        payload = await self.ask(RESERVE, **wanted)
        if payload["reservation"] is None:
            return str(payload["userErrors"][0]["code"])
        if self.dice.random() < 0.2:  # a double tap
            again = await self.ask(RESERVE, promo=str(promo_id), key=f"of {promo_id}")
            assert again["reservation"]["token"] == payload["reservation"]["token"]
        return await self.end(fate, payload["reservation"]["token"])

    async def die_asking(self, wanted: dict[str, Any]) -> None:
        """Sends the request and is gone before the answer."""
        body = json.dumps({"query": RESERVE, "variables": wanted})
        url = self.http.base_url
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(
            f"POST /graphql HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await writer.drain()
        await asyncio.sleep(self.dice.uniform(0, 0.2))
        writer.transport.abort()

    async def end(self, fate: str, token: str) -> str:
        if fate == "abandon":
            return fate
        await asyncio.sleep(self.dice.uniform(0, 0.2))
        payload = await self.ask(CHECKOUT if fate == "buy" else CANCEL, token=token)
        if payload["reservation"] is None:
            return str(payload["userErrors"][0]["code"])
        return str(payload["reservation"]["status"])


@pytest.fixture
async def shops(database_url: str, redis_address: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients of two server processes on one database."""
    variables = {"DATABASE_URL": database_url, "REDIS_URL": redis_address, "RATE_LIMITS": "false"}
    limits = httpx.Limits(max_connections=CLIENTS)
    async with (
        running_server(variables) as one,
        running_server(variables) as other,
        httpx.AsyncClient(base_url=one, limits=limits, timeout=120) as first,
        httpx.AsyncClient(base_url=other, limits=limits, timeout=120) as second,
    ):
        yield [first, second]


async def tidy_all(database: Database, promo_id: int) -> None:
    async with database.transaction() as session:
        stock = await session.scalar(
            text("SELECT store_product_id FROM flash_promos WHERE id = :id"), {"id": promo_id}
        )
        await tidy_stock(session, stock, right_now())


async def test_two_hundred_clients_get_fifty_units_and_never_one_more(
    database: Database, shops: list[httpx.AsyncClient], dice: random.Random
) -> None:
    users = await make_people(database, CLIENTS)
    tokens = [token_for(user) for user in users]
    for _ in range(ROUNDS):
        promo = await make_promo(database, units=UNITS, hold_seconds=1)
        dice.shuffle(tokens)
        buyers = [
            Buyer(shops[number % 2], token, random.Random(dice.random()))
            for number, token in enumerate(tokens)
        ]
        fates = Counter(await asyncio.gather(*[buyer.live(promo) for buyer in buyers]))
        await asyncio.sleep(1.2)  # the last abandoned hold runs out
        await tidy_all(database, promo)
        state = await counters(database, promo)
        # A client that died may have bought nothing, but none that was told so has nothing.
        assert state["taken"] == fates["CONFIRMED"]
        assert state["held"] == 0
        assert state["on_hand"] + fates["CONFIRMED"] == UNITS
        assert fates["CONFIRMED"] > 0
        await audit(database)


async def race(database: Database, hold: HoldRow, delay: float) -> str:
    await asyncio.sleep(delay)
    try:
        async with database.transaction() as session:
            await checkout(session, user_id=hold.user_id, token=hold.token, now=right_now())
    except HoldExpired:
        return "EXPIRED"
    return "CONFIRMED"


async def sweep(database: Database, stock_id: int, seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        async with database.transaction() as session:
            await tidy_stock(session, stock_id, right_now())


async def test_checkout_racing_expiry_has_one_winner_each_time(
    database_url: str, dice: random.Random
) -> None:
    database = Database(create_engine(database_url, pool_size=20))
    users = await make_people(database, RACES // 10)
    told: list[tuple[HoldRow, str]] = []
    for _ in range(10):
        promo = await make_promo(database, units=RACES, hold_seconds=1)
        async with database.transaction() as session:
            batch = await reserve(session, promo, [HoldRequest(u, 1) for u in users], right_now())
        holds = [outcome for outcome in batch.outcomes if isinstance(outcome, HoldRow)]
        left = (holds[0].expires_at - right_now()).total_seconds()
        races = [race(database, hold, left + dice.uniform(-0.1, 0.02)) for hold in holds]
        sweeping = asyncio.create_task(sweep(database, holds[0].store_product_id, left + 0.2))
        told += zip(holds, await asyncio.gather(*races), strict=True)
        await sweeping
    assert len(told) == RACES
    async with database.read() as reader:
        rows = await reader.execute(text("SELECT id, status FROM reservations"))
        stored = {row.id: row.status for row in rows}
    assert {hold.id: end for hold, end in told} == stored
    assert set(stored.values()) == {"CONFIRMED", "EXPIRED"}
    await audit(database)
    await database.close()
