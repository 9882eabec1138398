"""Messages on their way to the broker, and jobs whose message was lost on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    DateTime,
    Interval,
    Row,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Job, OutboxMessage
from db.models.jobs import JobStatus
from db.outbox import OUTBOX_CHANNEL, RESEND_SECONDS

SEND_LEASE = timedelta(seconds=10)
"""A claimed message is its relay's for so long. If that relay dies before it has sent it, the next
one sends it then. Sending twice is harmless: the second delivery finds its job taken."""

LONGEST_RESEND_SECONDS = 600
MESSAGES_KEPT = timedelta(hours=1)
"""Longer than a message may take: that it was sent lately is what keeps a job from being resent."""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    id: int
    job_id: UUID
    actor: str


@dataclass(frozen=True, slots=True)
class LostJobs:
    """How many were sent again: those the broker forgot, those whose worker died."""

    unsent: int
    abandoned: int


async def claim_messages(session: AsyncSession, now: datetime, limit: int) -> list[OutgoingMessage]:
    """Due messages, oldest first, that no other relay gets until SEND_LEASE has passed.

    To be committed before anything is sent: a send can block for seconds, and a transaction that
    waits for it would hold its row locks as long.
    """
    due = await session.execute(
        select(OutboxMessage.id, OutboxMessage.job_id, OutboxMessage.actor)
        .where(OutboxMessage.dispatched_at.is_(None), OutboxMessage.available_at <= now)
        .order_by(OutboxMessage.available_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    messages = [OutgoingMessage(*row) for row in due]
    if messages:
        await session.execute(
            update(OutboxMessage)
            .where(OutboxMessage.id.in_([message.id for message in messages]))
            .values(attempts=OutboxMessage.attempts + 1, available_at=now + SEND_LEASE)
        )
    return messages


async def mark_dispatched(session: AsyncSession, ids: Sequence[int], now: datetime) -> None:
    await session.execute(
        update(OutboxMessage).where(OutboxMessage.id.in_(ids)).values(dispatched_at=now)
    )


async def release_messages(session: AsyncSession, ids: Sequence[int], now: datetime) -> None:
    """The broker did not take them: due again at once."""
    await session.execute(
        update(OutboxMessage)
        .where(OutboxMessage.id.in_(ids), OutboxMessage.dispatched_at.is_(None))
        .values(available_at=now)
    )


async def resend_lost_jobs(session: AsyncSession, now: datetime, limit: int) -> LostJobs:
    """Sends again what the broker forgot and what a dead worker held; at most `limit` of each."""
    unsent = await _forgotten(session, now, limit)
    if unsent:
        await session.execute(
            update(Job)
            .where(Job.id.in_([job.id for job in unsent]))
            .values(
                sends=Job.sends + 1, resend_at=literal(now, DateTime(True)) + _resend_interval()
            )
        )
    abandoned = await _abandoned(session, now, limit)
    if abandoned:
        await session.execute(
            update(Job)
            .where(Job.id.in_([job.id for job in abandoned]))
            .values(
                status=JobStatus.QUEUED,
                leased_until=None,
                available_at=now,
                resend_at=now + timedelta(seconds=RESEND_SECONDS),
            )
        )
    await _post_all(session, [*unsent, *abandoned], now)
    return LostJobs(len(unsent), len(abandoned))


async def _forgotten(session: AsyncSession, now: datetime, limit: int) -> Sequence[Row[UUID, str]]:
    # A message that waits for the relay is not lost, nor one sent just now (the relay had been
    # down for longer than `resend_at` allows for).
    on_its_way = exists().where(
        OutboxMessage.job_id == Job.id,
        or_(
            OutboxMessage.dispatched_at.is_(None),
            OutboxMessage.dispatched_at > now - timedelta(seconds=RESEND_SECONDS),
        ),
    )
    found = await session.execute(
        select(Job.id, Job.actor)
        .where(Job.status == JobStatus.QUEUED, Job.resend_at <= now, ~on_its_way)
        .order_by(Job.resend_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True, of=Job)
    )
    return found.all()


async def _abandoned(session: AsyncSession, now: datetime, limit: int) -> Sequence[Row[UUID, str]]:
    found = await session.execute(
        select(Job.id, Job.actor)
        .where(Job.status == JobStatus.RUNNING, Job.leased_until < now)
        .order_by(Job.leased_until)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return found.all()


def _resend_interval() -> ColumnElement[timedelta]:
    """Doubles with each send: a queue that is merely long must not grow by its own echoes."""
    doublings = func.power(2, func.least(Job.sends, 10))
    seconds = func.least(RESEND_SECONDS * doublings, LONGEST_RESEND_SECONDS)
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=Interval())


async def _post_all(session: AsyncSession, jobs: Sequence[Row[UUID, str]], now: datetime) -> None:
    if not jobs:
        return
    await session.execute(
        insert(OutboxMessage),
        [{"job_id": job.id, "actor": job.actor, "available_at": now} for job in jobs],
    )
    await session.execute(select(func.pg_notify(OUTBOX_CHANNEL, "")))


async def delete_old_messages(session: AsyncSession, now: datetime, limit: int) -> int:
    old = (select(OutboxMessage.id).where(OutboxMessage.dispatched_at < now - MESSAGES_KEPT)).limit(
        limit
    )
    deleted = await session.execute(delete(OutboxMessage).where(OutboxMessage.id.in_(old)))
    assert isinstance(deleted, CursorResult)  # noqa: S101 - what a DELETE returns
    return deleted.rowcount
