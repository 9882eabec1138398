"""Reads over jobs and the outbox: what an operator looks at."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, tuple_

from db.models import Job, OutboxMessage
from db.models.jobs import JobStatus
from db.session import Reader


@dataclass(frozen=True, slots=True)
class FailedJobRow:
    id: UUID
    actor: str
    args: dict[str, Any]
    attempts: int
    error: str | None
    created_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """`oldest_due_seconds`: how long the job waits that waits longest; 0 if none is due."""

    queued: int
    running: int
    failed: int
    oldest_due_seconds: float
    unsent_messages: int


async def failed_jobs(
    reader: Reader, first: int, after: tuple[datetime, UUID] | None = None
) -> list[FailedJobRow]:
    """Latest failure first; `after` is (finished_at, id) of the last row of the page before."""
    statement = select(
        Job.id,
        Job.actor,
        Job.args,
        Job.attempts,
        Job.error,
        Job.created_at,
        Job.finished_at,
    ).where(Job.status == JobStatus.FAILED)
    if after is not None:
        statement = statement.where(tuple_(Job.finished_at, Job.id) < tuple_(*after))
    rows = await reader.execute(
        statement.order_by(Job.finished_at.desc(), Job.id.desc()).limit(first)
    )
    return [FailedJobRow(*row) for row in rows]


async def queue_figures(reader: Reader, now: datetime) -> QueueFigures:
    """One statement over the partial indexes: finished jobs, by far the most, are not read."""
    queued, running, failed = (
        select(func.count()).where(Job.status == status).scalar_subquery()
        for status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FAILED)
    )
    oldest = (
        select(func.min(Job.available_at))
        .where(Job.status == JobStatus.QUEUED, Job.available_at <= now)
        .scalar_subquery()
    )
    unsent = select(func.count()).where(OutboxMessage.dispatched_at.is_(None)).scalar_subquery()
    row = (await reader.execute(select(queued, running, failed, oldest, unsent))).one()
    waited = (now - row[3]).total_seconds() if row[3] else 0.0
    return QueueFigures(row[0], row[1], row[2], waited, row[4])


async def next_message_due(reader: Reader) -> datetime | None:
    """When the next unsent message is to be sent; in the past if one is overdue."""
    earliest = select(func.min(OutboxMessage.available_at)).where(
        OutboxMessage.dispatched_at.is_(None)
    )
    return (await reader.execute(earliest)).scalar_one()
