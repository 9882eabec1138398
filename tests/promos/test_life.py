"""Promos go live and end by the clock, each once, however often it is looked (F21, F22, F46)."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from db.models.promos import PromoStatus
from db.outbox import enqueue
from db.session import Database
from db.transactions import promos as transactions
from db.transactions.promos import activate_due, end_over
from tasks.jobs import JOBS, JobContext
from tasks.promos import ACTIVATE_AND_NOTIFY_PROMOS_ACTOR, activate_and_end_promos
from tasks.recurring import RECURRING
from tasks.resources import Resources
from tests.factories import right_now
from tests.market import make_promo, make_stock
from tests.promos.offers import stored

MOMENT = timedelta(microseconds=1)
START = right_now().replace(microsecond=0) + timedelta(days=1)
END = START + timedelta(hours=1)


async def scheduled(database: Database) -> int:
    return await make_promo(database, status=PromoStatus.SCHEDULED, starts_at=START, ends_at=END)


async def activated(database: Database, now: datetime) -> list[int]:
    async with database.transaction() as session:
        return await activate_due(session, now)


async def ended(database: Database, now: datetime) -> list[int]:
    async with database.transaction() as session:
        return (await end_over(session, now)).promo_ids


async def notices(database: Database) -> list[int]:
    """Promos that a round of notices was ordered for."""
    async with database.read() as reader:
        rows = await reader.execute(
            text("SELECT (args ->> 'promo_id')::int FROM jobs WHERE actor = 'notify_promo'")
        )
        return sorted(rows.scalars())


@pytest.mark.parametrize("now", [START, START + MOMENT, END])
async def test_it_goes_live_from_its_start_to_its_end_both_included(
    database: Database, now: datetime
) -> None:
    promo = await scheduled(database)
    assert await activated(database, now) == [promo]
    row = await stored(database, promo)
    assert (row.status, row.updated_at) == ("ACTIVE", now)


@pytest.mark.parametrize("now", [START - MOMENT, END + MOMENT])
async def test_it_does_not_go_live_outside_of_its_schedule(
    database: Database, now: datetime
) -> None:
    promo = await scheduled(database)
    assert await activated(database, now) == []
    assert (await stored(database, promo)).status == "SCHEDULED"


async def test_going_live_orders_its_notices_once(database: Database) -> None:
    promos = [await scheduled(database) for _ in range(3)]
    assert sorted(await activated(database, START)) == promos
    assert await activated(database, START) == []
    assert await notices(database) == promos


async def rounds(database: Database) -> int:
    """Of notices for all active promos, ordered and still to be begun."""
    async with database.read() as reader:
        rows = await reader.execute(
            text(
                "SELECT count(*) FROM jobs"
                " WHERE actor = 'notify_active_promos' AND status = 'QUEUED'"
            )
        )
        return int(rows.scalar_one())


async def test_many_that_go_live_at_once_order_one_round_for_all(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "MOST_ROUNDS", 2)
    monkeypatch.setattr(transactions, "BATCH", 3)
    promos = [await scheduled(database) for _ in range(6)]
    for _ in range(2):
        assert len(await activated(database, START)) == 3
    assert await activated(database, START) == []
    assert {(await stored(database, promo)).status for promo in promos} == {"ACTIVE"}
    assert await rounds(database) == 1
    assert await notices(database) == []


async def test_as_many_as_that_go_live_with_a_round_each(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "MOST_ROUNDS", 2)
    promos = [await scheduled(database) for _ in range(2)]
    await activated(database, START)
    assert await notices(database) == promos
    assert await rounds(database) == 0


async def test_a_round_that_has_begun_is_not_relied_upon(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been planned without them."""
    monkeypatch.setattr(transactions, "MOST_ROUNDS", 0)
    await scheduled(database)
    async with database.transaction() as session:
        await enqueue(session, "notify_active_promos", now=START)
        await session.execute(
            text("UPDATE jobs SET status = 'RUNNING', leased_until = :until"), {"until": END}
        )
    await activated(database, START)
    assert await rounds(database) == 1


async def test_status_and_notices_come_together_or_not_at_all(database: Database) -> None:
    promo = await scheduled(database)

    async def interrupted() -> None:
        async with database.transaction() as session:
            assert await activate_due(session, START) == [promo]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await interrupted()
    assert (await stored(database, promo)).status == "SCHEDULED"
    assert await notices(database) == []


async def test_it_ends_just_after_its_end_and_stays_ended(database: Database) -> None:
    promo = await scheduled(database)
    await activated(database, START)
    assert await ended(database, END) == []
    assert await ended(database, END + MOMENT) == [promo]
    after = await stored(database, promo)
    assert after.status == "ENDED"
    assert await ended(database, END + 2 * MOMENT) == []
    assert await activated(database, START) == []
    assert await stored(database, promo) == after


async def test_one_that_was_missed_altogether_ends_without_notices(database: Database) -> None:
    promo = await scheduled(database)
    assert await ended(database, END + MOMENT) == [promo]
    assert (await stored(database, promo)).status == "ENDED"
    assert await notices(database) == []


@pytest.mark.parametrize("status", [PromoStatus.CANCELLED, PromoStatus.ENDED])
async def test_what_is_over_is_left_alone(database: Database, status: PromoStatus) -> None:
    promo = await make_promo(database, status=status, starts_at=START, ends_at=END)
    before = await stored(database, promo)
    for now in (START, END + MOMENT):
        assert await activated(database, now) == []
        assert await ended(database, now) == []
    assert await stored(database, promo) == before


async def test_what_somebody_else_has_in_hand_does_not_hold_up_the_rest(
    database: Database,
) -> None:
    held, free = await scheduled(database), await scheduled(database)
    async with database.transaction() as other:
        await other.execute(
            text("SELECT id FROM flash_promos WHERE id = :id FOR NO KEY UPDATE"), {"id": held}
        )
        async with asyncio.timeout(20):
            assert await activated(database, START) == [free]
    assert await activated(database, START) == [held]


async def test_two_who_look_at_once_bring_each_to_life_once(database: Database) -> None:
    promos = [await scheduled(database) for _ in range(10)]
    found = await asyncio.gather(*(activated(database, START) for _ in range(4)))
    assert sorted(promo for batch in found for promo in batch) == promos
    assert await notices(database) == promos


async def test_the_tick_goes_on_until_nothing_is_due(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "BATCH", 2)
    now = resources.now()
    stock = await make_stock(resources.database)
    hour = timedelta(hours=1)

    async def make(status: PromoStatus, starts_at: datetime, ends_at: datetime) -> list[int]:
        return [
            await make_promo(
                resources.database, stock, status=status, starts_at=starts_at, ends_at=ends_at
            )
            for _ in range(5)
        ]

    due = await make(PromoStatus.SCHEDULED, now - hour, now + hour)
    over = await make(PromoStatus.ACTIVE, now - 2 * hour, now - hour)
    later = await make(PromoStatus.SCHEDULED, now + hour, now + 2 * hour)
    for _ in range(2):
        await activate_and_end_promos(resources)
        for promos, status in ((due, "ACTIVE"), (over, "ENDED"), (later, "SCHEDULED")):
            assert {(await stored(resources.database, promo)).status for promo in promos} == {
                status
            }
        assert await notices(resources.database) == due


async def test_people_are_told_when_it_goes_live_and_when_it_ends(resources: Resources) -> None:
    now = resources.now()
    due = await make_promo(resources.database, status=PromoStatus.SCHEDULED)
    over = await make_promo(resources.database, ends_at=now - timedelta(seconds=1))
    async with resources.redis.pubsub() as listening:
        channels = [f"auspex:promo:{promo}" for promo in (due, over)]
        await listening.subscribe(*channels)
        await activate_and_end_promos(resources)
        told: set[str] = set()
        async with asyncio.timeout(10):
            async for message in listening.listen():
                if message["type"] == "message":
                    told.add(message["channel"].decode())
                if told == set(channels):
                    break


async def test_the_job_of_the_same_name_does_the_same_and_may_come_twice(
    resources: Resources,
) -> None:
    promo = await make_promo(resources.database, status=PromoStatus.SCHEDULED)
    for _ in range(2):
        async with resources.database.transaction() as session:
            job_id = await enqueue(session, ACTIVATE_AND_NOTIFY_PROMOS_ACTOR, now=resources.now())
            await session.execute(
                text(
                    "UPDATE jobs SET status = 'RUNNING', attempts = 1, leased_until = :until"
                    " WHERE id = :id"
                ),
                {"id": job_id, "until": resources.now() + timedelta(minutes=1)},
            )
        await JOBS[ACTIVATE_AND_NOTIFY_PROMOS_ACTOR].handler(
            JobContext(resources, job_id, attempt=1), {}
        )
    assert (await stored(resources.database, promo)).status == "ACTIVE"
    assert await notices(resources.database) == [promo]


def test_the_scheduler_looks_every_second() -> None:
    (tick,) = [entry for entry in RECURRING if entry.work is activate_and_end_promos]
    assert tick.trigger.interval == timedelta(seconds=1)
