"""The life of a job: claimed, kept, finished, tried again, given up.

`attempt` is the fencing token: it only ever grows, so what a worker writes after another one took
its job over finds no row. Nothing here may set `Job.attempts` back.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, CursorResult, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Job
from db.models.jobs import JobStatus
from db.outbox import MAX_ATTEMPTS, RESEND_SECONDS, post

LONGEST_ERROR = 2_000
FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 300.0
CLOCK_SLACK = timedelta(seconds=2)
"""The relay's clock decides when a message is due. A worker whose clock is a little behind must
not turn it away: the message is used up, and the job would wait to be sent again."""

JOBS_KEPT = timedelta(days=7)


class LeaseLost(Exception):
    """Another attempt has taken the job over; whatever this one did must not be stored."""

    def __init__(self, job_id: UUID, attempt: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        super().__init__(f"attempt {attempt} no longer holds job {job_id}")


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """`exhausted`: every attempt was used up by workers that died; it may only be buried."""

    id: UUID
    actor: str
    args: dict[str, Any]
    attempt: int
    max_attempts: int
    last_error: str | None

    @property
    def exhausted(self) -> bool:
        return self.attempt > self.max_attempts


async def claim_job(
    session: AsyncSession, job_id: UUID, now: datetime, lease_seconds: float
) -> ClaimedJob | None:
    """Takes the job if it is due, or if the worker that held it is dead; else None.

    Of two deliveries at once the second waits for the first one's row lock and then finds nothing.
    """
    due = and_(Job.status == JobStatus.QUEUED, Job.available_at <= now + CLOCK_SLACK)
    lapsed = and_(Job.status == JobStatus.RUNNING, Job.leased_until < now)
    claimed = await session.execute(
        update(Job)
        .where(Job.id == job_id, or_(due, lapsed))
        .values(
            status=JobStatus.RUNNING,
            attempts=Job.attempts + 1,
            leased_until=now + timedelta(seconds=lease_seconds),
            started_at=func.coalesce(Job.started_at, now),
        )
        .returning(Job.id, Job.actor, Job.args, Job.attempts, Job.max_attempts, Job.error)
    )
    row = claimed.one_or_none()
    return ClaimedJob(*row) if row else None


async def extend_lease(
    session: AsyncSession, job_id: UUID, attempt: int, now: datetime, lease_seconds: float
) -> bool:
    """False: the job is no longer this attempt's, which should stop working on it."""
    return await _changed(
        session, job_id, attempt, leased_until=now + timedelta(seconds=lease_seconds)
    )


async def finish_job(session: AsyncSession, job_id: UUID, attempt: int, now: datetime) -> None:
    """Belongs into the transaction that stores the outcome. Raises LeaseLost, which undoes it."""
    if not await _changed(
        session,
        job_id,
        attempt,
        status=JobStatus.SUCCEEDED,
        leased_until=None,
        finished_at=now,
        error=None,
    ):
        raise LeaseLost(job_id, attempt)


async def retry_job(
    session: AsyncSession,
    job: ClaimedJob,
    error: str,
    now: datetime,
    first_retry_seconds: float = FIRST_RETRY_SECONDS,
) -> JobStatus:
    """QUEUED again for later, or FAILED after the last attempt. Raises LeaseLost."""
    if job.attempt >= job.max_attempts:
        await bury_job(session, job, error, now)
        return JobStatus.FAILED
    await _queue_again(
        session, job, now, retry_delay(job.attempt, first_retry_seconds), error=_bounded(error)
    )
    return JobStatus.QUEUED


async def bury_job(session: AsyncSession, job: ClaimedJob, error: str, now: datetime) -> None:
    """FAILED for good: the row stays for an admin to see and retry. Raises LeaseLost."""
    if not await _changed(
        session,
        job.id,
        job.attempt,
        status=JobStatus.FAILED,
        leased_until=None,
        finished_at=now,
        error=_bounded(error),
    ):
        raise LeaseLost(job.id, job.attempt)


async def release_job(session: AsyncSession, job: ClaimedJob, now: datetime) -> None:
    """A worker that shuts down hands its job back, due at once. Raises LeaseLost.

    The broken attempt must not count, and the token must not shrink: so the limit grows.
    """
    await _queue_again(session, job, now, timedelta(), max_attempts=Job.max_attempts + 1)


async def postpone_burial(
    session: AsyncSession, job: ClaimedJob, error: str, now: datetime
) -> None:
    """The job is exhausted but could not be settled: tried again later, never forgotten."""
    await _queue_again(
        session,
        job,
        now,
        retry_delay(job.attempt, FIRST_RETRY_SECONDS),
        error=_bounded(error),
        max_attempts=func.least(Job.max_attempts, Job.attempts),
    )


async def requeue_failed_job(
    session: AsyncSession, job_id: UUID, now: datetime, attempts: int = MAX_ATTEMPTS
) -> bool:
    """Gives a FAILED job that many fresh attempts; False if there is no such FAILED job."""
    queued = await session.execute(
        update(Job)
        .where(Job.id == job_id, Job.status == JobStatus.FAILED)
        .values(
            status=JobStatus.QUEUED,
            max_attempts=Job.attempts + attempts,
            available_at=now,
            resend_at=now + timedelta(seconds=RESEND_SECONDS),
            sends=1,
            finished_at=None,
        )
        .returning(Job.actor)
    )
    actor = queued.scalar_one_or_none()
    if actor is None:
        return False
    await post(session, job_id, actor, now)
    return True


async def delete_old_jobs(session: AsyncSession, now: datetime, limit: int) -> int:
    """Finished ones, a week after. FAILED ones are kept: they are an admin's work list."""
    old = (
        select(Job.id)
        .where(
            Job.status.in_([JobStatus.SUCCEEDED, JobStatus.CANCELLED]),
            Job.finished_at < now - JOBS_KEPT,
        )
        .limit(limit)
    )
    deleted = await session.execute(delete(Job).where(Job.id.in_(old)))
    assert isinstance(deleted, CursorResult)  # noqa: S101 - what a DELETE returns
    return deleted.rowcount


def retry_delay(attempt: int, first_seconds: float) -> timedelta:
    """Doubles from attempt to attempt. Spread over its upper half, so that what failed together
    (a database that was down) does not come back together."""
    whole = min(first_seconds * 2 ** min(attempt - 1, 20), LONGEST_RETRY_SECONDS)
    return timedelta(seconds=whole * (0.5 + secrets.randbelow(1_000) / 2_000))


async def _queue_again(
    session: AsyncSession, job: ClaimedJob, now: datetime, delay: timedelta, **values: Any
) -> None:
    available_at = now + delay
    if not await _changed(
        session,
        job.id,
        job.attempt,
        status=JobStatus.QUEUED,
        leased_until=None,
        available_at=available_at,
        resend_at=available_at + timedelta(seconds=RESEND_SECONDS),
        sends=1,
        **values,
    ):
        raise LeaseLost(job.id, job.attempt)
    await post(session, job.id, job.actor, available_at)


async def _changed(session: AsyncSession, job_id: UUID, attempt: int, **values: Any) -> bool:
    changed = await session.execute(
        update(Job).where(*_held(job_id, attempt)).values(**values).returning(Job.id)
    )
    return changed.one_or_none() is not None


def _held(job_id: UUID, attempt: int) -> tuple[ColumnElement[bool], ...]:
    # A lapsed lease alone takes nothing away: only whoever took the job over does.
    return (Job.id == job_id, Job.attempts == attempt, Job.status == JobStatus.RUNNING)


def _bounded(error: str) -> str:
    return error[:LONGEST_ERROR]
