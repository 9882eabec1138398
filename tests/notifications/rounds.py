"""Rounds carried out in this process by the real job runner, at moments of the tests' choosing."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import select

from db.models import Job, Notification, NotificationDay
from db.models.jobs import JobStatus
from db.models.notifications import NotificationKind
from db.outbox import enqueue
from db.session import Database
from db.transactions.notices import NOTIFY_ACTIVE_PROMOS_ACTOR
from db.transactions.notifications import notify
from tasks.jobs import JOBS
from tasks.resources import Resources
from tasks.runner import JobRunner
from tests.factories import make_user
from tests.market import BOGOTA, Stock, make_promo, place_user

NOON = datetime(2026, 3, 10, 17, 0, tzinfo=UTC)
"""Twelve o'clock in Bogota, on a Tuesday."""


async def make_person(
    database: Database, place: tuple[float, float] | None = BOGOTA, **profile: Any
) -> UUID:
    """Somebody new near the market's first store, in the time zone of Bogota."""
    user = await make_user(database)
    await place_user(database, user.id, place, **profile)
    return user.id


async def promo_at_noon(database: Database, stock: Stock | None = None, **terms: Any) -> int:
    """Runs from an hour before NOON until three days later."""
    schedule = {"starts_at": NOON - timedelta(hours=1), "ends_at": NOON + timedelta(days=3)}
    return await make_promo(database, stock, **{**schedule, **terms})


class Workers:
    """What carries out the jobs; `now` is their clock."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self.database = database
        self.now = NOON
        self.resources = Resources(database, redis, now=lambda: self.now)

    def with_redis(self, redis: Any) -> "Workers":
        made = Workers(self.database, redis)
        made.now = self.now
        return made

    async def enqueue(self, actor: str, **args: Any) -> UUID:
        async with self.database.transaction() as session:
            return await enqueue(session, actor, now=self.now, **args)

    async def run(self, job_id: UUID) -> None:
        await JobRunner(self.resources).run(JOBS[(await self.job(job_id)).actor], job_id)

    async def run_all(self) -> None:
        """Until nothing is queued, however long a retry would wait; and then none has failed."""
        while queued := await self.queued():
            for job in queued:
                self.now = max(self.now, job.available_at)
                await self.run(job.id)
        async with self.database.transaction() as session:
            failed = await session.scalars(select(Job.error).where(Job.error.is_not(None)))
            assert failed.all() == []

    async def round(self, now: datetime | None = None) -> None:
        self.now = now or self.now
        await self.enqueue(NOTIFY_ACTIVE_PROMOS_ACTOR)
        await self.run_all()

    async def queued(self, actor: str | None = None) -> Sequence[Any]:
        statement = select(Job).where(Job.status == JobStatus.QUEUED).order_by(Job.created_at)
        if actor is not None:
            statement = statement.where(Job.actor == actor)
        async with self.database.transaction() as session:
            return (await session.scalars(statement)).all()

    async def job(self, job_id: UUID) -> Job:
        async with self.database.transaction() as session:
            return (await session.scalars(select(Job).where(Job.id == job_id))).one()


async def sent(database: Database, *users: UUID) -> list[tuple[UUID, int | None, date]]:
    """(person, promo, day) of every notice, or of these people's, in the order of ids."""
    statement = select(Notification.user_id, Notification.promo_id, Notification.sent_date)
    if users:
        statement = statement.where(Notification.user_id.in_(users))
    async with database.read() as reader:
        return [
            (row[0], row[1], row[2])
            for row in await reader.execute(statement.order_by(Notification.id))
        ]


async def promos_told(database: Database, user: UUID) -> list[int | None]:
    return [promo for _, promo, _ in await sent(database, user)]


async def people_told(database: Database, promo: int | None = None) -> set[UUID]:
    return {user for user, of, _ in await sent(database) if promo in {None, of}}


async def counted(database: Database, user: UUID) -> int | None:
    """What the person's day says."""
    async with database.read() as reader:
        statement = select(NotificationDay.sent).where(NotificationDay.user_id == user)
        return (await reader.execute(statement)).scalar_one_or_none()


async def tell(
    database: Database,
    user: UUID,
    kind: NotificationKind = NotificationKind.PREDICTION_READY,
    now: datetime = NOON,
    **of: Any,
) -> int | None:
    """One notice outside of rounds."""
    async with database.transaction() as session:
        return await notify(
            session, kind=kind, user_id=user, title="A title", body="A body", now=now, **of
        )


async def lock_waits(database: Database) -> int:
    """How many connections of the database wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    async with database.read() as reader:
        found = await reader.exec_driver_sql(f"{waiting} AND wait_event_type = 'Lock'")
        return int(found.scalar_one())
