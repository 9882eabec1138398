"""Nobody gets around the scores, and nobody in line keeps the others from their turn."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from commands.order import TrainedFile
from db.models.promos import AdmissionMode
from db.queries.waitlists import latest_entry
from db.session import Database
from db.transactions.holds import cancel, release_promo
from db.transactions.offers import offer_leftovers, offer_promo, offer_stock, waiting_stock
from db.transactions.reserving import HoldRequest, reserve
from db.transactions.reserving_alone import reserve_alone
from tests.clients import Api, SignIn
from tests.factories import attendee, make_user, right_now
from tests.holds.audit import audit, counters
from tests.holds.test_admissions import LATER, NEVER, SCORED
from tests.holds.test_api import WAIT, errors
from tests.holds.test_api import reserve as ask
from tests.holds.test_closing import make_hold
from tests.holds.test_waitlists import place, sold_out, wait
from tests.market import make_promo, make_stock


async def execute(database: Database, statement: str, **values: Any) -> None:
    async with database.transaction() as session:
        await session.execute(text(statement), values)


async def stock_of(database: Database, promo: int) -> int:
    async with database.read() as reader:
        row = await reader.execute(
            text("SELECT store_product_id FROM flash_promos WHERE id = :id"), {"id": promo}
        )
        return int(row.scalar_one())


async def test_who_joins_the_line_while_their_reserve_waits_for_the_lock_holds_and_waits_no_longer(
    database: Database,
) -> None:
    promo = await make_promo(database, units=2)
    user = (await make_user(database)).id
    async with database.transaction() as session:
        await session.execute(
            text("SELECT FROM flash_promos WHERE id = :id FOR NO KEY UPDATE"), {"id": promo}
        )
        async with database.statement() as connection:
            reserving = asyncio.create_task(
                reserve_alone(connection, promo, HoldRequest(user, 1), right_now())
            )
            await blocked(database)
            await session.execute(
                text(
                    "INSERT INTO waitlist_entries (promo_id, user_id, quantity, joined_at)"
                    " VALUES (:promo, :user, 5, now())"
                ),
                {"promo": promo, "user": user},
            )
            await session.commit()
            assert await reserving is not None
    assert (await place(database, promo, user)).status == "CONVERTED"
    other = await make_hold(database, promo)
    async with database.transaction() as session:
        await cancel(session, user_id=other.user_id, token=other.token, now=right_now())
    await audit(database)


async def blocked(database: Database) -> None:
    """Until somebody waits for a lock in this database."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(30):
        while True:
            async with database.read() as reader:
                if (await reader.execute(waiting)).scalar_one():
                    return
            await asyncio.sleep(0.01)


async def test_a_promo_that_scores_holds_nothing_for_a_request_without_a_score(
    database: Database,
) -> None:
    promo = await make_promo(database, admission_mode=AdmissionMode.SCORED)
    request = HoldRequest((await make_user(database)).id, 1)
    async with database.transaction() as session:
        batch = await reserve(session, promo, [request], right_now())
    assert type(batch.outcomes[0]).__name__ == "ScoreMissing"
    async with database.statement() as connection:
        assert await reserve_alone(connection, promo, request, right_now()) is None
    assert await counters(database, promo) == {"on_hand": 10, "held": 0, "taken": 0}


async def test_claims_sent_at_once_come_to_one_decision(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, **{**SCORED, "admit_above": 0.5, "deny_below": 0.5})
    api, _ = await sign_in()
    bad = attendee(attendanceRate=0.0, resaleReportsCount=9, paymentFailuresRatio=0.9)
    claims = [bad, bad, attendee(attendanceRate=1.0), bad]
    answers = await asyncio.gather(*[ask(api, promo, attendee=claim) for claim in claims])
    outcomes = {tuple(errors(answer)) for answer in answers}
    assert len(outcomes) == 1
    async with database.read() as reader:
        rows = (await reader.execute(text("SELECT decision FROM predictions"))).scalars().all()
    assert len(rows) == 1
    assert outcomes == ({("ADMISSION_DENIED",)} if rows[0] == "DENY" else {()})


async def join(api: Api, promo: int, quantity: int = 1) -> Any:
    return (await api(WAIT, promo=str(promo), quantity=quantity))["joinWaitlist"]


async def test_the_line_is_no_way_around_a_denial(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, **NEVER)
    api, _ = await sign_in()
    for _ in range(2):
        payload = await join(api, promo)
        assert errors(payload) == ["ADMISSION_DENIED"]
        assert payload["userErrors"][0]["field"] == ["promoId"]
    async with database.read() as reader:
        assert (await reader.execute(text("SELECT id FROM waitlist_entries"))).all() == []


async def test_todays_thresholds_decide_about_a_score_of_yesterday(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    promo = await make_promo(database, **LATER)
    api, user = await sign_in()
    assert errors(await ask(api, promo)) == ["ADMISSION_WAITLISTED"]
    await execute(database, "UPDATE flash_promos SET admit_above = 1, deny_below = 1")
    assert errors(await ask(api, promo)) == ["ADMISSION_DENIED"]
    assert (await place(database, promo, user.id)).status == "MISSED"
    await execute(database, "UPDATE flash_promos SET admit_above = 0, deny_below = 0")
    payload = await ask(api, promo)
    assert errors(payload) == []
    assert payload["reservation"]["admission"] == "ADMIT"


async def test_a_hold_that_a_merchant_took_back_does_not_count_against_the_buyer(
    champion: TrainedFile, database: Database, sign_in: SignIn
) -> None:
    api, user = await sign_in()
    taken_back, given_back = await make_promo(database), await make_promo(database)
    await make_hold(database, taken_back, user_id=user.id)
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE flash_promos SET status = 'CANCELLED' WHERE id = :id"), {"id": taken_back}
        )
        await release_promo(session, taken_back, right_now())
    hold = await make_hold(database, given_back, user_id=user.id)
    async with database.transaction() as session:
        await cancel(session, user_id=user.id, token=hold.token, now=right_now())
    await ask(api, await make_promo(database, **SCORED))
    async with database.read() as reader:
        (kept,) = (await reader.execute(text("SELECT input FROM predictions"))).scalars()
    assert kept["canceled_orders"] == 1


async def test_nobody_waits_for_more_than_there_can_be(database: Database, sign_in: SignIn) -> None:
    promo = await make_promo(database, quota=3)
    api, _ = await sign_in()
    for quantity in (4, 1_001, 2_147_483_647):
        (error,) = (await join(api, promo, quantity))["userErrors"]
        assert (error["code"], error["field"]) == ("OUT_OF_RANGE", ["quantity"])


async def test_a_hundred_who_want_too_much_keep_nobody_from_the_rest(database: Database) -> None:
    promo, _ = await sold_out(database)
    greedy = await many_waiting(database, promo, 120, quantity=900)
    honest = await wait(database, promo)
    async with database.transaction() as session:
        await session.execute(text("UPDATE store_products SET on_hand = on_hand + 5"))
        await offer_stock(session, await stock_of(database, promo), right_now())
    assert greedy == 120
    assert (await place(database, promo, honest)).status == "OFFERED"


async def many_waiting(database: Database, promo: int, count: int, quantity: int) -> int:
    await execute(
        database,
        "WITH people AS (INSERT INTO users (id, role) SELECT gen_random_uuid(), 'USER'"
        " FROM generate_series(1, :count) RETURNING id), profiled AS ("
        " INSERT INTO profiles (user_id, time_zone) SELECT id, 'America/Bogota' FROM people)"
        " INSERT INTO waitlist_entries (promo_id, user_id, quantity, joined_at, priority)"
        " SELECT :promo, id, :quantity, now(), 1 FROM people",
        count=count,
        promo=promo,
        quantity=quantity,
    )
    return count


async def sweep(database: Database) -> int:
    """Serves what is waiting, as the recurring work does; the stock rows it found."""
    async with database.transaction() as session:
        found = await waiting_stock(session, 100)
    for stock_id in found:
        async with database.transaction() as session:
            await offer_leftovers(session, stock_id, right_now())
    return len(found)


async def states(database: Database) -> dict[str, int]:
    async with database.read() as reader:
        rows = await reader.execute(
            text("SELECT status, count(*) AS count FROM waitlist_entries GROUP BY status")
        )
        return {row.status: int(row[1]) for row in rows}


async def test_a_line_longer_than_one_transaction_serves_is_served_by_the_sweep(
    database: Database,
) -> None:
    promo, _ = await sold_out(database)
    await many_waiting(database, promo, 120, quantity=1)
    async with database.transaction() as session:
        await session.execute(text("UPDATE store_products SET on_hand = on_hand + 200"))
        await offer_stock(session, await stock_of(database, promo), right_now())
    assert await states(database) == {"OFFERED": 100, "WAITING": 20}
    assert await sweep(database) == 1
    assert await states(database) == {"OFFERED": 120}
    assert await sweep(database) == 0
    await audit(database)


async def test_units_of_a_cancelled_promo_go_to_who_waits_for_another_of_the_stock_row(
    database: Database,
) -> None:
    stock = await make_stock(database, units=1)
    first, second = [await make_promo(database, stock) for _ in range(2)]
    await make_hold(database, first)
    user = await wait(database, second)
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE flash_promos SET status = 'CANCELLED' WHERE id = :id"), {"id": first}
        )
        await release_promo(session, first, right_now())
    assert (await place(database, second, user)).status == "WAITING"
    await sweep(database)
    assert (await place(database, second, user)).status == "OFFERED"


async def test_the_sweep_keeps_units_of_a_promo_that_scores_for_the_admitted(
    database: Database,
) -> None:
    promo = await make_promo(database, units=3, admission_mode=AdmissionMode.SCORED)
    user = await wait(database, promo)
    assert await sweep(database) == 0
    assert (await place(database, promo, user)).status == "WAITING"


async def test_a_promo_that_is_over_does_not_fail_who_gives_units_back(database: Database) -> None:
    promo, (hold,) = await sold_out(database)
    user = await wait(database, promo)
    await execute(database, "UPDATE flash_promos SET ends_at = now() - interval '1 second'")
    async with database.transaction() as session:
        row, _ = await cancel(session, user_id=hold.user_id, token=hold.token, now=right_now())
    assert row.status == "CANCELLED"
    assert (await place(database, promo, user)).status == "WAITING"
    assert await counters(database, promo) == {"on_hand": 1, "held": 0, "taken": 0}


@pytest.mark.parametrize("quantity", [1, 2])
async def test_who_holds_units_and_stands_in_line_all_the_same_is_passed_over(
    database: Database, quantity: int
) -> None:
    promo, (hold,) = await sold_out(database)
    await execute(
        database,
        "INSERT INTO waitlist_entries (promo_id, user_id, quantity, joined_at)"
        " VALUES (:promo, :user, :quantity, now() - interval '1 hour')",
        promo=promo,
        user=hold.user_id,
        quantity=quantity,
    )
    honest = await wait(database, promo)
    async with database.transaction() as session:
        await session.execute(text("UPDATE store_products SET on_hand = on_hand + 2"))
        await offer_promo(session, promo, right_now())
    assert (await place(database, promo, honest)).status == "OFFERED"
    async with database.read() as reader:
        entry = await latest_entry(reader, UUID(str(hold.user_id)), promo)
    assert entry is not None
    assert entry.status == "WAITING"
