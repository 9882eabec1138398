"""How a hold ends: bought, given back, or past its time. Once, whatever races."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from db.errors import HoldClosed, HoldExpired, InputRejected
from db.models.promos import PromoStatus
from db.queries.holds import HoldRow, hold_by_token
from db.session import Database
from db.transactions.holds import cancel, checkout, release_promo, tidy_stock
from db.transactions.reserving import HoldRequest, reserve
from tests.factories import make_user, right_now
from tests.holds.audit import audit, counters
from tests.market import make_promo


async def make_hold(
    database: Database, promo_id: int, quantity: int = 1, user_id: UUID | None = None
) -> HoldRow:
    user = user_id or (await make_user(database)).id
    async with database.transaction() as session:
        batch = await reserve(session, promo_id, [HoldRequest(user, quantity)], right_now())
    (hold,) = batch.outcomes
    assert isinstance(hold, HoldRow), hold
    return hold


async def buy(database: Database, hold: HoldRow) -> HoldRow:
    async with database.transaction() as session:
        return (await checkout(session, user_id=hold.user_id, token=hold.token, now=right_now()))[0]


async def give_back(database: Database, hold: HoldRow) -> HoldRow:
    async with database.transaction() as session:
        return (await cancel(session, user_id=hold.user_id, token=hold.token, now=right_now()))[0]


async def tidy(database: Database, hold: HoldRow) -> set[str]:
    async with database.transaction() as session:
        return await tidy_stock(session, hold.store_product_id, right_now())


async def test_checkout_takes_the_units_off_hand(database: Database) -> None:
    promo = await make_promo(database, units=5)
    bought = await buy(database, await make_hold(database, promo, 2))
    assert bought.status == "CONFIRMED"
    assert bought.closed_at is not None
    assert await counters(database, promo) == {"on_hand": 3, "held": 0, "taken": 2}
    await audit(database)


async def test_a_repeated_checkout_buys_once(database: Database) -> None:
    promo = await make_promo(database, units=5)
    hold = await make_hold(database, promo, 2)
    assert await buy(database, hold) == await buy(database, hold)
    assert await counters(database, promo) == {"on_hand": 3, "held": 0, "taken": 2}


async def test_giving_back_puts_the_units_on_the_shelf_again(database: Database) -> None:
    promo = await make_promo(database, units=5)
    hold = await make_hold(database, promo, 2)
    first, second = await give_back(database, hold), await give_back(database, hold)
    assert first.status == second.status == "CANCELLED"
    assert await counters(database, promo) == {"on_hand": 5, "held": 0, "taken": 0}
    await audit(database)


async def test_what_was_bought_can_not_be_given_back(database: Database) -> None:
    promo = await make_promo(database, units=5)
    hold = await make_hold(database, promo)
    await buy(database, hold)
    with pytest.raises(HoldClosed) as refused:
        await give_back(database, hold)
    assert refused.value.status == "CONFIRMED"
    assert await counters(database, promo) == {"on_hand": 4, "held": 0, "taken": 1}


async def test_what_was_given_back_can_not_be_bought(database: Database) -> None:
    promo = await make_promo(database, units=5)
    hold = await make_hold(database, promo)
    await give_back(database, hold)
    with pytest.raises(HoldClosed) as refused:
        await buy(database, hold)
    assert refused.value.status == "CANCELLED"
    assert await counters(database, promo) == {"on_hand": 5, "held": 0, "taken": 0}


async def test_a_hold_past_its_time_is_expired_for_everybody_before_it_is_tidied(
    database: Database,
) -> None:
    promo = await make_promo(database, units=5, hold_seconds=1)
    hold = await make_hold(database, promo)
    await asyncio.sleep(1.1)
    async with database.read() as reader:
        seen = await hold_by_token(reader, hold.token)
    assert seen is not None
    assert (seen.status, seen.closed_at) == ("EXPIRED", hold.expires_at)
    with pytest.raises(HoldExpired) as refused:
        await buy(database, hold)
    assert refused.value.expired_at == hold.expires_at
    assert (await give_back(database, hold)).status == "EXPIRED"
    assert await counters(database, promo) == {"on_hand": 5, "held": 1, "taken": 1}


async def test_tidying_puts_overdue_units_back_and_leaves_the_others(database: Database) -> None:
    promo = await make_promo(database, units=5, hold_seconds=1)
    late = await make_hold(database, promo, 2)
    await asyncio.sleep(1.1)
    async with database.transaction() as session:
        await session.execute(text("UPDATE flash_promos SET hold_seconds = 60"))
    fresh = await make_hold(database, promo, 1)
    assert f"hold:{late.id}" in await tidy(database, late)
    assert await tidy(database, late) == set()
    assert await counters(database, promo) == {"on_hand": 5, "held": 1, "taken": 1}
    assert (await buy(database, fresh)).status == "CONFIRMED"
    await audit(database)


async def test_a_strangers_token_is_as_absent(database: Database) -> None:
    promo = await make_promo(database)
    hold = await make_hold(database, promo)
    for act in (checkout, cancel):
        with pytest.raises(InputRejected) as refused:
            async with database.transaction() as session:
                await act(session, user_id=uuid4(), token=hold.token, now=right_now())
        assert refused.value.problems[0].code == "NOT_FOUND"
    assert await counters(database, promo) == {"on_hand": 10, "held": 1, "taken": 1}


async def test_a_hold_outlives_the_end_of_its_promo(database: Database) -> None:
    promo = await make_promo(database, units=5)
    hold = await make_hold(database, promo)
    async with database.transaction() as session:
        await session.execute(text("UPDATE flash_promos SET status = 'ENDED'"))
    assert (await buy(database, hold)).status == "CONFIRMED"


async def test_a_cancelled_promo_gives_its_holds_back(database: Database) -> None:
    promo = await make_promo(database, units=5)
    hold, bought = await make_hold(database, promo, 2), await make_hold(database, promo, 1)
    await buy(database, bought)
    async with database.transaction() as session:
        topics = await release_promo(session, promo, right_now())
    assert {f"hold:{hold.id}", f"promo:{promo}"} <= topics
    assert await counters(database, promo) == {"on_hand": 4, "held": 0, "taken": 1}
    await audit(database)


async def execute(database: Database, statement: str) -> None:
    async with database.transaction() as session:
        await session.execute(text(statement))


LATE = "UPDATE reservations SET status = 'CONFIRMED', closed_at = now()"
EARLY = "UPDATE reservations SET status = 'EXPIRED', closed_at = now()"


async def test_the_database_refuses_a_late_confirmation(database: Database) -> None:
    hold = await make_hold(database, await make_promo(database, hold_seconds=1))
    await asyncio.sleep(1.1)
    with pytest.raises(DBAPIError, match="the hold has expired"):
        await execute(database, LATE)
    assert await counters(database, hold.promo_id) == {"on_hand": 10, "held": 1, "taken": 1}


async def test_the_database_refuses_an_early_expiry(database: Database) -> None:
    hold = await make_hold(database, await make_promo(database))
    with pytest.raises(DBAPIError, match="not expired yet"):
        await execute(database, EARLY)
    assert await counters(database, hold.promo_id) == {"on_hand": 10, "held": 1, "taken": 1}


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE reservations SET status = 'HELD', closed_at = NULL", "stays as it is"),
        ("UPDATE reservations SET quantity = 9", "stays as it is"),
        ("DELETE FROM reservations", "permanent"),
    ],
)
async def test_the_database_keeps_closed_holds_as_they_are(
    database: Database, statement: str, reason: str
) -> None:
    hold = await make_hold(database, await make_promo(database))
    await buy(database, hold)
    with pytest.raises(DBAPIError, match=reason):
        await execute(database, statement)
    assert await counters(database, hold.promo_id) == {"on_hand": 9, "held": 0, "taken": 1}


@pytest.mark.parametrize("change", ["quantity = 2", "unit_price = 1", "expires_at = now()"])
async def test_the_database_keeps_what_an_open_hold_holds(database: Database, change: str) -> None:
    await make_hold(database, await make_promo(database))
    with pytest.raises(DBAPIError, match="permanent"):
        await execute(database, f"UPDATE reservations SET {change}")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE store_products SET on_hand = 0",
        "UPDATE store_products SET held = 11",
        "UPDATE flash_promos SET quota = 0",
        "UPDATE promo_user_counts SET max_per_user = 0",
    ],
)
async def test_the_database_refuses_counters_that_oversell(
    database: Database, statement: str
) -> None:
    await make_hold(database, await make_promo(database))
    with pytest.raises(IntegrityError):
        await execute(database, statement)


@pytest.mark.parametrize(
    "terms",
    [
        {"status": PromoStatus.SCHEDULED},
        {"status": PromoStatus.CANCELLED},
        {"ends_at": right_now() - timedelta(minutes=1)},
    ],
)
async def test_the_database_refuses_a_hold_outside_the_schedule(
    database: Database, terms: dict[str, object]
) -> None:
    promo = await make_promo(database, **terms)  # type: ignore[arg-type]
    user = await make_user(database)
    with pytest.raises(DBAPIError, match="schedule"):
        await execute(
            database,
            "INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity,"
            " unit_price, created_at, expires_at) SELECT 'x', id, store_product_id,"
            f" '{user.id}', 1, 1, now(), now() + interval '1 second' FROM flash_promos"
            f" WHERE id = {promo}",
        )


async def test_the_database_refuses_a_second_open_hold_and_foreign_stock(
    database: Database,
) -> None:
    promo, other = await make_promo(database), await make_promo(database)
    hold = await make_hold(database, promo)
    same_again = (
        "INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity,"
        " unit_price, created_at, expires_at) SELECT 'x', promo_id, {stock}, user_id, 1, 1,"
        " created_at, expires_at FROM reservations"
    )
    with pytest.raises(IntegrityError, match="one_hold_per_user_and_promo"):
        await execute(database, same_again.format(stock="store_product_id"))
    foreign = f"(SELECT store_product_id FROM flash_promos WHERE id = {other})"
    with pytest.raises(IntegrityError):
        await execute(database, same_again.format(stock=foreign))
    assert await counters(database, hold.promo_id) == {"on_hand": 10, "held": 1, "taken": 1}
