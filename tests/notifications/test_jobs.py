"""The actors of a round: what they enqueue, and that nothing is ever sent twice (F47-F49)."""

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.events import CHANNEL_PREFIX, NOTIFICATIONS, notified_users
from db.models import Job, Promo
from db.models.jobs import JobStatus
from db.models.promos import PromoStatus
from db.session import Database
from db.transactions import notices
from db.transactions.notices import NOTIFY_ACTIVE_PROMOS_ACTOR, SEND_PUSH_BATCH_ACTOR
from db.transactions.notifications import NOTIFY_PROMO_ACTOR, take_turns
from tasks.notifications import request_notification_round
from tasks.recurring import RECURRING
from tests.market import BOGOTA, make_stock, north_of, place_user
from tests.notifications.rounds import (
    NOON,
    Workers,
    make_person,
    people_told,
    promo_at_noon,
    promos_told,
    sent,
)
from tests.notifications.rounds import (
    counted as counted_today,
)
from tests.statements import counted


class DyingRedis:
    async def publish(self, topic: str, message: str) -> None:
        raise RuntimeError("the process died here")


async def end(database: Database, promo: int) -> None:
    async with database.transaction() as session:
        await session.execute(
            update(Promo).where(Promo.id == promo).values(status=PromoStatus.ENDED)
        )


async def test_a_round_has_one_job_a_promo_with_anybody_left_to_tell(
    database: Database, workers: Workers
) -> None:
    await make_person(database)
    wanted = {await promo_at_noon(database) for _ in range(2)}
    await promo_at_noon(database, await make_stock(database, place=north_of(BOGOTA, 9_000)))
    await workers.run(await workers.enqueue(NOTIFY_ACTIVE_PROMOS_ACTOR))
    jobs = await workers.queued()
    assert {job.actor for job in jobs} == {NOTIFY_PROMO_ACTOR}
    assert {job.args["promo_id"] for job in jobs} == wanted


async def test_who_is_over_the_cap_costs_no_job(database: Database, workers: Workers) -> None:
    await make_person(database, daily_cap=2)
    for _ in range(5):
        await promo_at_noon(database)
    await workers.run(await workers.enqueue(NOTIFY_ACTIVE_PROMOS_ACTOR))
    assert len(await workers.queued(NOTIFY_PROMO_ACTOR)) == 2
    await workers.run_all()
    await workers.run(await workers.enqueue(NOTIFY_ACTIVE_PROMOS_ACTOR))
    assert await workers.queued() == []


async def test_people_are_told_in_batches(database: Database, workers: Workers) -> None:
    people = {await make_person(database) for _ in range(5)}
    promo = await promo_at_noon(database)
    with patch.object(notices, "BATCH_SIZE", 2):
        await workers.run(await workers.enqueue(NOTIFY_PROMO_ACTOR, promo_id=promo))
    batches = await workers.queued(SEND_PUSH_BATCH_ACTOR)
    assert sorted(len(job.args["user_ids"]) for job in batches) == [1, 2, 2]
    await workers.run_all()
    assert await people_told(database, promo) == people


async def test_a_promo_that_goes_live_leaves_scarce_room_to_a_nearer_one(
    database: Database, workers: Workers
) -> None:
    person = await make_person(database, daily_cap=1)
    nearer = await promo_at_noon(database)
    live = await promo_at_noon(database, await make_stock(database, place=north_of(BOGOTA, 500)))
    await workers.enqueue(NOTIFY_PROMO_ACTOR, promo_id=live)
    await workers.run_all()
    assert await sent(database) == []
    await workers.round()
    assert await promos_told(database, person) == [nearer]


@pytest.mark.parametrize("step", [NOTIFY_PROMO_ACTOR, SEND_PUSH_BATCH_ACTOR])
async def test_a_promo_that_ended_meanwhile_is_not_sent(
    database: Database, workers: Workers, step: str
) -> None:
    await make_person(database)
    promo = await promo_at_noon(database)
    await workers.enqueue(NOTIFY_ACTIVE_PROMOS_ACTOR)
    while not await workers.queued(step):
        await workers.run((await workers.queued())[0].id)
    await end(database, promo)
    await workers.run_all()
    assert await sent(database) == []


async def test_what_a_person_decides_meanwhile_counts(database: Database, workers: Workers) -> None:
    people = [await make_person(database) for _ in range(4)]
    await promo_at_noon(database)
    await workers.enqueue(NOTIFY_ACTIVE_PROMOS_ACTOR)
    while not await workers.queued(SEND_PUSH_BATCH_ACTOR):
        await workers.run((await workers.queued())[0].id)
    changes = (
        "promos_enabled = false",
        "daily_cap = 0",
        "quiet_from = '11:00', quiet_to = '13:00'",
    )
    async with database.transaction() as session:
        for person, change in zip(people, changes, strict=False):
            statement = text(f"UPDATE profiles SET {change} WHERE user_id = :id")
            await session.execute(statement, {"id": person})
    await workers.run_all()
    assert await people_told(database) == {people[3]}


async def test_what_was_inserted_is_what_is_published(database: Database, workers: Workers) -> None:
    first, second = await make_person(database), await make_person(database)
    promo = await promo_at_noon(database)
    await batch(workers, promo, first)
    async with workers.resources.redis.pubsub() as listening:
        await listening.subscribe(CHANNEL_PREFIX + NOTIFICATIONS)
        await listening.get_message(timeout=10)
        await batch(workers, promo, first, second)
        message = await listening.get_message(ignore_subscribe_messages=True, timeout=10)
    assert message is not None
    assert notified_users(message["data"].decode()) == {second}


async def batch(workers: Workers, promo: int, *people: Any) -> None:
    users = [str(person) for person in people]
    await workers.run(await workers.enqueue(SEND_PUSH_BATCH_ACTOR, promo_id=promo, user_ids=users))


async def test_a_crash_between_insert_and_publish_adds_no_duplicate(
    database: Database, workers: Workers
) -> None:
    person, promo = await make_person(database), await promo_at_noon(database)
    await batch(workers.with_redis(DyingRedis()), promo, person)
    assert await people_told(database, promo) == {person}
    await batch(workers, promo, person)
    await workers.round()
    assert await promos_told(database, person) == [promo]
    assert await counted_today(database, person) == 1


async def test_a_crash_before_the_commit_loses_nothing(
    database: Database, workers: Workers
) -> None:
    person, promo = await make_person(database), await promo_at_noon(database)
    job = await workers.enqueue(SEND_PUSH_BATCH_ACTOR, promo_id=promo, user_ids=[str(person)])
    with patch("tasks.notifications.insert_batch", side_effect=ConnectionError("gone")):
        await workers.run(job)
    assert await sent(database) == []
    assert (await workers.job(job)).status == JobStatus.QUEUED
    await workers.run_all()
    assert await people_told(database, promo) == {person}


async def test_a_batch_that_the_database_refuses_is_tried_again(
    database: Database, workers: Workers
) -> None:
    """As when it meets the cap's check in a race."""
    people = [await make_person(database) for _ in range(3)]
    promo = await promo_at_noon(database)
    async with database.transaction() as session:
        for statement in (
            "CREATE SEQUENCE hiccup",
            """CREATE FUNCTION refuse_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF nextval('hiccup') = 2 THEN
                   RAISE EXCEPTION 'daily_cap' USING ERRCODE = 'check_violation';
                 END IF;
                 RETURN NEW;
               END $$""",
            """CREATE TRIGGER hiccup BEFORE INSERT ON notifications
               FOR EACH ROW EXECUTE FUNCTION refuse_first()""",
        ):
            await session.execute(text(statement))
    await batch(workers, promo, *people)
    assert await sent(database) == []
    await workers.run_all()
    assert sorted(user for user, *_ in await sent(database)) == sorted(people)
    assert [await counted_today(database, person) for person in people] == [1, 1, 1]


async def test_who_becomes_open_to_it_at_the_last_moment_waits_for_the_next_round(
    database: Database, workers: Workers
) -> None:
    """Their turn was not taken, so their ids could become visible out of order."""
    person, late = await make_person(database), await make_person(database, promos_enabled=False)
    promo = await promo_at_noon(database)

    async def and_then(session: AsyncSession, people: Any) -> Any:
        locked = await take_turns(session, people)
        await place_user(database, late, promos_enabled=True)
        return locked

    with patch.object(notices, "take_turns", and_then):
        await batch(workers, promo, person, late)
    assert await people_told(database) == {person}
    await workers.round()
    assert await people_told(database) == {person, late}


async def test_who_is_not_told_after_all_keeps_the_room_for_another_promo(
    database: Database, workers: Workers
) -> None:
    """Room is counted when a turn is taken, and what came to nothing is given back."""
    told, moved = await make_person(database, daily_cap=1), await make_person(database, daily_cap=1)
    promo = await promo_at_noon(database)
    await place_user(database, moved, north_of(BOGOTA, 9_000))
    await batch(workers, promo, told, moved)
    assert await people_told(database) == {told}
    assert [await counted_today(database, person) for person in (told, moved)] == [1, 0]
    await place_user(database, moved, BOGOTA)
    await workers.round()
    assert await people_told(database) == {told, moved}
    assert await counted_today(database, moved) == 1


async def test_who_was_told_already_is_counted_once(database: Database, workers: Workers) -> None:
    person, promo = await make_person(database), await promo_at_noon(database)
    for _ in range(2):
        await batch(workers, promo, person)
    assert await promos_told(database, person) == [promo]
    assert await counted_today(database, person) == 1


async def test_a_batch_is_two_statements_whatever_its_size(
    database: Database, workers: Workers
) -> None:
    people, promo = [await make_person(database) for _ in range(5)], await promo_at_noon(database)
    with counted(database) as statements:
        async with database.transaction() as session:
            assert len(await notices.insert_batch(session, promo, people, NOON)) == 5
    assert len(statements) == 2


async def test_batches_at_once_never_pass_the_cap(database: Database, workers: Workers) -> None:
    people = [await make_person(database, daily_cap=2) for _ in range(5)]
    promos = [await promo_at_noon(database) for _ in range(8)]
    await asyncio.gather(*(batch(workers, promo, *people) for promo in promos))
    await workers.run_all()
    assert [len(await promos_told(database, person)) for person in people] == [2] * 5
    assert [await counted_today(database, person) for person in people] == [2] * 5


async def test_turns_are_taken_in_one_order(database: Database, workers: Workers) -> None:
    """Else two batches with people in common could wait for each other."""
    people, promo = [await make_person(database) for _ in range(2)], await promo_at_noon(database)
    with counted(database) as statements:
        async with database.transaction() as session:
            await notices.insert_batch(session, promo, people, NOON)
    (turns,) = [one for one in statements if "INSERT INTO notification_days" in one]
    assert "ORDER BY 1" in turns


async def test_two_rounds_at_once_insert_each_notice_once(
    database: Database, workers: Workers
) -> None:
    people = [await make_person(database) for _ in range(30)]
    promos = [await promo_at_noon(database) for _ in range(5)]
    for _ in range(2):
        await workers.run(await workers.enqueue(NOTIFY_ACTIVE_PROMOS_ACTOR))
    while queued := await workers.queued():
        await asyncio.gather(*(workers.run(job.id) for job in queued))
    rows = await sent(database)
    assert len(rows) == len(set(rows)) == 3 * len(people)
    assert {promo for _, promo, _ in rows} <= set(promos)
    assert {await counted_today(database, person) for person in people} == {3}


async def test_the_scheduler_asks_for_a_round_every_minute() -> None:
    (line,) = [one for one in RECURRING if one.work is request_notification_round]
    assert line.trigger.interval == timedelta(seconds=60)


async def test_no_round_is_asked_for_while_one_is_on(database: Database, workers: Workers) -> None:
    async def asked() -> int:
        await request_notification_round(workers.resources)
        return len(await workers.queued(NOTIFY_ACTIVE_PROMOS_ACTOR))

    assert await asked() == 1
    workers.now += timedelta(minutes=1)
    assert await asked() == 1
    async with database.transaction() as session:
        await session.execute(
            update(Job).values(status=JobStatus.RUNNING, leased_until=NOON + timedelta(hours=1))
        )
    assert await asked() == 0
    async with database.transaction() as session:
        await session.execute(update(Job).values(status=JobStatus.SUCCEEDED, leased_until=None))
    assert await asked() == 1


async def test_no_round_is_asked_for_while_the_workers_are_behind(
    database: Database, workers: Workers
) -> None:
    await workers.enqueue(SEND_PUSH_BATCH_ACTOR, promo_id=1, user_ids=[])
    workers.now += timedelta(minutes=1)
    await request_notification_round(workers.resources)
    assert await workers.queued(NOTIFY_ACTIVE_PROMOS_ACTOR) == []
    await workers.run_all()
    await request_notification_round(workers.resources)
    assert len(await workers.queued(NOTIFY_ACTIVE_PROMOS_ACTOR)) == 1
