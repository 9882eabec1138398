"""The one gate for every notice: what passes it, what it counts, and the order it puts ids in."""

import asyncio
from datetime import date, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from db.models import Notification, NotificationDay
from db.models.notifications import NotificationKind
from db.session import Database
from db.transactions.notifications import notify
from tests.market import place_user
from tests.notifications.rounds import (
    NOON,
    Workers,
    counted,
    lock_waits,
    make_person,
    promo_at_noon,
    sent,
    tell,
)
from tests.tasks.bench import eventually

KEEPS = [NotificationKind.SHORTAGE_ALERT, NotificationKind.LOW_BALANCE]
PASSES = NotificationKind.PREDICTION_READY
QUIET: dict[str, Any] = {"quiet_from": time(11), "quiet_to": time(13)}


async def test_finished_work_passes_cap_quiet_hours_and_opt_out(database: Database) -> None:
    person = await make_person(
        database, daily_cap=0, promos_enabled=False, shortages_enabled=False, **QUIET
    )
    assert await tell(database, person, PASSES) is not None
    assert await counted(database, person) == 0


@pytest.mark.parametrize("kind", KEEPS)
async def test_other_notices_keep_to_the_cap_and_count(
    database: Database, kind: NotificationKind
) -> None:
    person = await make_person(database, daily_cap=1)
    assert await tell(database, person, kind) is not None
    assert await tell(database, person, kind) is None
    assert await counted(database, person) == 1
    assert await tell(database, person, kind, NOON + timedelta(days=1)) is not None


@pytest.mark.parametrize("kind", KEEPS)
async def test_other_notices_keep_to_quiet_hours(
    database: Database, kind: NotificationKind
) -> None:
    person = await make_person(database, **QUIET)
    assert await tell(database, person, kind) is None
    assert await tell(database, person, kind, NOON + timedelta(hours=1)) is not None


async def test_who_wants_no_shortages_is_told_of_none(database: Database) -> None:
    person = await make_person(database, shortages_enabled=False)
    assert await tell(database, person, NotificationKind.SHORTAGE_ALERT) is None
    assert await tell(database, person, NotificationKind.LOW_BALANCE) is not None


async def test_promos_and_other_notices_share_the_cap(database: Database, workers: Workers) -> None:
    person = await make_person(database, daily_cap=2)
    await tell(database, person, NotificationKind.LOW_BALANCE)
    for _ in range(3):
        await promo_at_noon(database)
    await workers.round(NOON)
    assert len(await sent(database, person)) == 2


async def test_a_promo_is_told_of_once_a_day_by_this_way_too(database: Database) -> None:
    person, promo = await make_person(database), await promo_at_noon(database)
    kind = NotificationKind.PROMO
    assert await tell(database, person, kind, promo_id=promo) is not None
    assert await tell(database, person, kind, promo_id=promo) is None
    assert await counted(database, person) == 1


async def test_nothing_is_written_if_the_transaction_fails(database: Database) -> None:
    person = await make_person(database)

    async def fail_after_it() -> None:
        async with database.transaction() as session:
            kind = NotificationKind.LOW_BALANCE
            await notify(
                session, kind=kind, user_id=person, title="A title", body="A body", now=NOON
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_after_it()
    assert await sent(database) == []
    assert await counted(database, person) is None


async def test_one_persons_ids_become_visible_in_their_order(database: Database) -> None:
    """Else a client that has seen the later one, and asks for what came after it, misses the
    earlier one."""
    person, other = await make_person(database), await make_person(database)
    async with database.transaction() as session:
        first = await notify(
            session, kind=PASSES, user_id=person, title="A title", body="A body", now=NOON
        )
        second = asyncio.create_task(tell(database, person))

        async def waits() -> bool:
            return await lock_waits(database) == 1

        await eventually(waits, what="the second notice waiting for the first one's commit")
        assert await tell(database, other) is not None  # nobody else waits
        assert not second.done()
    assert first is not None
    assert await second > first  # type: ignore[operator]


async def test_many_at_once_never_pass_the_cap(database: Database) -> None:
    person = await make_person(database, daily_cap=3)
    kind = NotificationKind.LOW_BALANCE
    made = await asyncio.gather(*(tell(database, person, kind) for _ in range(12)))
    assert sum(one is not None for one in made) == 3
    assert await counted(database, person) == 3


async def test_the_database_itself_refuses_more_than_the_cap(database: Database) -> None:
    person = await make_person(database, daily_cap=1)
    await tell(database, person, NotificationKind.LOW_BALANCE)
    with pytest.raises(IntegrityError, match="daily_cap"):
        async with database.transaction() as session:
            await session.execute(update(NotificationDay).values(sent=NotificationDay.sent + 1))
    assert await counted(database, person) == 1


async def test_a_cap_lowered_under_what_was_sent_only_stops_further_ones(
    database: Database,
) -> None:
    person = await make_person(database, daily_cap=3)
    for _ in range(2):
        await tell(database, person, NotificationKind.LOW_BALANCE)
    await place_user(database, person, daily_cap=1)
    assert await tell(database, person, NotificationKind.LOW_BALANCE) is None
    assert await tell(database, person, PASSES) is not None
    assert await counted(database, person) == 2


async def test_a_notice_is_dated_by_the_persons_own_day(database: Database) -> None:
    guest = await make_person(database, time_zone="Asia/Tokyo")
    await tell(database, guest, now=NOON)  # two o'clock at night there
    assert await day_of(database, guest) == date(2026, 3, 11)


async def day_of(database: Database, user: UUID) -> date:
    async with database.read() as reader:
        statement = select(Notification.sent_date).where(Notification.user_id == user)
        found: date = (await reader.execute(statement)).scalar_one()
        return found
