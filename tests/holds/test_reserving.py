"""Taking holds: who gets units, who does not and why, and what a repeat gets."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from db.errors import (
    DomainError,
    Ineligible,
    InputRejected,
    LimitPerUser,
    OutOfStock,
    PromoNotActive,
)
from db.models.promos import PromoStatus
from db.queries.holds import HoldRow
from db.session import Database
from db.transactions.holds import checkout
from db.transactions.reserving import Batch, HoldRequest, Outcome, reserve
from tests.factories import make_user, right_now
from tests.holds.audit import audit, counters
from tests.market import BOGOTA, make_promo, make_stock, north_of, place_user


async def ask(database: Database, promo_id: int, *requests: HoldRequest) -> list[Outcome]:
    batch = await ask_batch(database, promo_id, requests)
    assert batch.overdue is None
    return batch.outcomes


async def ask_batch(database: Database, promo_id: int, requests: Sequence[HoldRequest]) -> Batch:
    async with database.transaction() as session:
        return await reserve(session, promo_id, requests, right_now())


async def buyers(database: Database, count: int) -> list[UUID]:
    return [(await make_user(database)).id for _ in range(count)]


def held(outcome: Outcome) -> HoldRow:
    assert isinstance(outcome, HoldRow), outcome
    return outcome


async def test_a_hold_takes_units_off_the_shelf_and_keeps_them_on_hand(database: Database) -> None:
    stock = await make_stock(database, units=10, price="1000.00")
    promo = await make_promo(database, stock, discount_percent=15, hold_seconds=60)
    (user,) = await buyers(database, 1)
    hold = held(*await ask(database, promo, HoldRequest(user, 3)))
    assert (hold.quantity, hold.status, str(hold.unit_price)) == (3, "HELD", "850.00")
    assert hold.expires_at - hold.created_at == timedelta(seconds=60)
    assert len(hold.token) >= 22
    assert await counters(database, promo) == {"on_hand": 10, "held": 3, "taken": 3}
    await audit(database)


async def test_requests_are_served_in_their_order_and_the_last_go_without(
    database: Database,
) -> None:
    promo = await make_promo(database, units=5)
    users = await buyers(database, 4)
    outcomes = await ask(
        database,
        promo,
        *[HoldRequest(user, n) for user, n in zip(users, (2, 2, 2, 1), strict=True)],
    )
    assert [type(outcome) for outcome in outcomes] == [HoldRow, HoldRow, OutOfStock, HoldRow]
    refused = outcomes[2]
    assert isinstance(refused, OutOfStock)
    assert (refused.units_left, refused.waitlist_open) == (1, True)
    assert await counters(database, promo) == {"on_hand": 5, "held": 5, "taken": 5}
    await audit(database)


async def test_the_quota_of_a_promo_ends_before_the_stock(database: Database) -> None:
    promo = await make_promo(database, units=100, quota=2)
    users = await buyers(database, 3)
    outcomes = await ask(database, promo, *[HoldRequest(user, 1) for user in users])
    assert [type(outcome) for outcome in outcomes] == [HoldRow, HoldRow, OutOfStock]
    assert await counters(database, promo) == {"on_hand": 100, "held": 2, "taken": 2}


async def test_two_promos_of_one_stock_row_share_its_units(database: Database) -> None:
    stock = await make_stock(database, units=3)
    first, second = [await make_promo(database, stock) for _ in range(2)]
    users = await buyers(database, 2)
    held(*await ask(database, first, HoldRequest(users[0], 2)))
    (refused,) = await ask(database, second, HoldRequest(users[1], 2))
    assert isinstance(refused, OutOfStock)
    assert refused.units_left == 1


async def test_an_open_hold_is_the_answer_to_a_further_request(database: Database) -> None:
    promo = await make_promo(database, units=5)
    (user,) = await buyers(database, 1)
    first, twin = await ask(database, promo, HoldRequest(user, 1), HoldRequest(user, 4))
    (later,) = await ask(database, promo, HoldRequest(user, 2))
    assert held(first).id == held(twin).id == held(later).id
    assert await counters(database, promo) == {"on_hand": 5, "held": 1, "taken": 1}


async def test_the_limit_per_person_counts_holds_and_purchases(database: Database) -> None:
    promo = await make_promo(database, units=9, max_per_user=3)
    (user,) = await buyers(database, 1)
    hold = held(*await ask(database, promo, HoldRequest(user, 2)))
    async with database.transaction() as session:
        await checkout(session, user_id=user, token=hold.token, now=right_now())
    (refused,) = await ask(database, promo, HoldRequest(user, 2))
    assert isinstance(refused, LimitPerUser)
    assert (refused.limit, refused.taken) == (3, 2)
    assert await counters(database, promo) == {"on_hand": 7, "held": 0, "taken": 2}
    held(*await ask(database, promo, HoldRequest(user, 1)))
    await audit(database)


@pytest.mark.parametrize(
    ("status", "starts", "ends"),
    [
        (PromoStatus.SCHEDULED, -1, 1),
        (PromoStatus.ENDED, -1, 1),
        (PromoStatus.CANCELLED, -1, 1),
        (PromoStatus.ACTIVE, 1, 2),
        (PromoStatus.ACTIVE, -2, -1),
    ],
)
async def test_a_promo_that_does_not_run_holds_nothing(
    database: Database, status: PromoStatus, starts: int, ends: int
) -> None:
    promo = await make_promo(
        database,
        status=status,
        starts_at=right_now() + timedelta(hours=starts),
        ends_at=right_now() + timedelta(hours=ends),
    )
    (user,) = await buyers(database, 1)
    (refused,) = await ask(database, promo, HoldRequest(user, 1))
    assert isinstance(refused, PromoNotActive)
    assert await counters(database, promo) == {"on_hand": 10, "held": 0, "taken": 0}


async def test_a_promo_that_is_not_there_is_named(database: Database) -> None:
    (user,) = await buyers(database, 1)
    (refused,) = await ask(database, 4711, HoldRequest(user, 1))
    assert isinstance(refused, InputRejected)
    assert refused.problems[0].code == "NOT_FOUND"


async def test_an_enforced_audience_refuses_who_is_too_far_and_says_how_far(
    database: Database,
) -> None:
    promo = await make_promo(database, enforce_audience=True)
    near, far = await buyers(database, 2)
    await place_user(database, near, north_of(BOGOTA, 1_999))
    await place_user(database, far, north_of(BOGOTA, 2_500))
    inside, outside = await ask(database, promo, HoldRequest(near, 1), HoldRequest(far, 1))
    held(inside)
    assert isinstance(outside, Ineligible)
    assert outside.reasons == ("TOO_FAR",)
    assert outside.distance_meters == pytest.approx(2_500, abs=1)
    assert await counters(database, promo) == {"on_hand": 10, "held": 1, "taken": 1}


async def test_without_an_enforced_audience_anybody_may_reserve(database: Database) -> None:
    promo = await make_promo(database)
    (user,) = await buyers(database, 1)
    held(*await ask(database, promo, HoldRequest(user, 1)))


async def test_a_repeated_key_gets_the_first_hold_even_after_it_was_bought(
    database: Database,
) -> None:
    promo = await make_promo(database, units=5)
    (user,) = await buyers(database, 1)
    request = HoldRequest(user, 2, key="tap", asked="2 of it")
    first = held(*await ask(database, promo, request))
    async with database.transaction() as session:
        await checkout(session, user_id=user, token=first.token, now=right_now())
    again = held(*await ask(database, promo, request))
    assert (again.id, again.status) == (first.id, "CONFIRMED")
    assert await counters(database, promo) == {"on_hand": 3, "held": 0, "taken": 2}


async def test_a_key_of_another_request_is_refused(database: Database) -> None:
    first, second = [await make_promo(database) for _ in range(2)]
    (user,) = await buyers(database, 1)
    held(*await ask(database, first, HoldRequest(user, 1, key="tap", asked="one")))
    (refused,) = await ask(database, second, HoldRequest(user, 1, key="tap", asked="two"))
    assert isinstance(refused, InputRejected)
    assert refused.problems[0].code == "IDEMPOTENCY_KEY_REUSED"
    assert await counters(database, second) == {"on_hand": 10, "held": 0, "taken": 0}


async def test_a_key_means_something_to_its_owner_only(database: Database) -> None:
    promo = await make_promo(database)
    one, other = await buyers(database, 2)
    requests = [HoldRequest(user, 1, key="tap", asked="one") for user in (one, other)]
    first, second = await ask(database, promo, *requests)
    assert held(first).id != held(second).id


async def test_a_refused_request_may_be_repeated_with_its_key(database: Database) -> None:
    stock = await make_stock(database, units=0)
    promo = await make_promo(database, stock)
    (user,) = await buyers(database, 1)
    request = HoldRequest(user, 1, key="tap", asked="one")
    (refused,) = await ask(database, promo, request)
    assert isinstance(refused, OutOfStock)
    async with database.transaction() as session:
        await session.execute(text("UPDATE store_products SET on_hand = 1"))
    held(*await ask(database, promo, request))


async def test_units_of_holds_past_their_time_are_asked_for_before_anybody_is_refused(
    database: Database,
) -> None:
    promo = await make_promo(database, units=1, hold_seconds=1)
    slow, quick = await buyers(database, 2)
    held(*await ask(database, promo, HoldRequest(slow, 1)))
    await asyncio.sleep(1.1)
    batch = await ask_batch(database, promo, [HoldRequest(quick, 1)])
    assert batch.overdue is not None
    assert batch.outcomes == []


async def test_errors_are_answers_of_their_own_requests_only(database: Database) -> None:
    promo = await make_promo(database, units=10, max_per_user=2)
    users = await buyers(database, 3)
    outcomes = await ask(
        database, promo, *[HoldRequest(user, n) for user, n in zip(users, (1, 3, 2), strict=True)]
    )
    assert isinstance(outcomes[1], DomainError)
    assert [held(outcomes[0]).quantity, held(outcomes[2]).quantity] == [1, 2]
    await audit(database)
