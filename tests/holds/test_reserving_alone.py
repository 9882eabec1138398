"""The short way for a lone buyer gives what the long way gives, or leaves the answer to it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy.exc import DBAPIError

from db.announcing import Announcer
from db.errors import DomainError
from db.models.promos import PromoStatus
from db.queries.holds import HoldRow
from db.queries.promos import price
from db.reserver import Reserver
from db.session import Database
from db.transactions.reserving import HoldRequest, reserve
from db.transactions.reserving_alone import reserve_alone
from tests.factories import make_user, right_now
from tests.holds.audit import audit, counters
from tests.holds.test_closing import make_hold
from tests.holds.test_waitlists import wait
from tests.market import make_promo, make_stock
from tests.statements import counted


async def alone(database: Database, promo: int, request: HoldRequest) -> HoldRow | None:
    async with database.statement() as connection:
        return await reserve_alone(connection, promo, request, right_now())


async def buyer(database: Database) -> UUID:
    return (await make_user(database)).id


async def test_a_lone_buyer_holds_with_one_statement(database: Database) -> None:
    promo = await make_promo(database, units=5)
    request = HoldRequest(await buyer(database), 2, key="tap", asked="two")
    with counted(database) as statements:
        hold = await alone(database, promo, request)
    assert hold is not None
    assert len(statements) == 1
    assert hold.expires_at - hold.created_at == timedelta(seconds=60)
    assert await counters(database, promo) == {"on_hand": 5, "held": 2, "taken": 2}
    await audit(database)


@pytest.mark.parametrize(
    ("base", "discount"), [("1000.00", "0"), ("0.05", "50"), ("9.99", "33.33"), ("0.10", "5")]
)
async def test_both_ways_come_to_the_same_price(
    database: Database, base: str, discount: str
) -> None:
    stock = await make_stock(database, price=base)
    promo = await make_promo(database, stock, discount_percent=discount)
    short = await alone(database, promo, HoldRequest(await buyer(database), 1))
    long = await make_hold(database, promo)
    assert short is not None
    assert short.unit_price == long.unit_price
    assert short.unit_price == price(type(short.unit_price)(base), type(short.unit_price)(discount))


async def test_its_key_is_known_to_the_long_way(database: Database) -> None:
    promo = await make_promo(database, units=5)
    request = HoldRequest(await buyer(database), 1, key="tap", asked="one")
    first = await alone(database, promo, request)
    assert await alone(database, promo, request) is None
    async with database.transaction() as session:
        (again,) = (await reserve(session, promo, [request], right_now())).outcomes
    assert first is not None
    assert isinstance(again, HoldRow)
    assert again.id == first.id
    assert await counters(database, promo) == {"on_hand": 5, "held": 1, "taken": 1}


@pytest.mark.parametrize(
    "terms",
    [
        {"status": PromoStatus.SCHEDULED},
        {"enforce_audience": True},
        {"quota": 1},
        {"units": 1},
    ],
)
async def test_what_is_not_plain_is_left_alone(database: Database, terms: dict[str, Any]) -> None:
    promo = await make_promo(database, **terms)
    assert await alone(database, promo, HoldRequest(await buyer(database), 2)) is None
    state = await counters(database, promo)
    assert (state["held"], state["taken"]) == (0, 0)


@pytest.mark.parametrize(
    "terms",
    [{"max_per_user": 1}, {"ends_at": right_now() - timedelta(minutes=1)}],
)
async def test_what_the_database_refuses_leaves_nothing(
    database: Database, terms: dict[str, Any]
) -> None:
    promo = await make_promo(database, **terms)
    with pytest.raises(DBAPIError):
        await alone(database, promo, HoldRequest(await buyer(database), 2, key="tap"))
    assert await counters(database, promo) == {"on_hand": 10, "held": 0, "taken": 0}
    await audit(database)


async def test_who_waits_in_line_goes_the_long_way_which_ends_the_waiting(
    database: Database,
) -> None:
    promo = await make_promo(database, units=1, admission_mode="SCORED")
    user = await wait(database, promo)
    assert await alone(database, promo, HoldRequest(user, 1)) is None


async def test_the_reserver_answers_refusals_of_the_short_way_as_the_long_way_does(
    database: Database, redis_address: str
) -> None:
    redis = Redis.from_url(redis_address)
    reserver = Reserver(database, Announcer(redis), right_now)
    promo = await make_promo(database, units=2, max_per_user=1)
    user = await buyer(database)
    refused = await reserver.reserve(promo, HoldRequest(user, 2))
    assert isinstance(refused, DomainError)
    assert refused.code == "LIMIT_PER_USER"
    first = await reserver.reserve(promo, HoldRequest(user, 1))
    again = await reserver.reserve(promo, HoldRequest(user, 1))
    assert isinstance(first, HoldRow)
    assert isinstance(again, HoldRow)
    assert first.id == again.id
    assert await counters(database, promo) == {"on_hand": 2, "held": 1, "taken": 1}
    await redis.aclose()
