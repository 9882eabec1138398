"""The transactional outbox: state, job and message are written together or not at all."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Job, OutboxMessage

OUTBOX_CHANNEL = "outbox"
"""PostgreSQL notifies it at the commit that wrote a message; the relay listens."""

MAX_ATTEMPTS = 5
RESEND_SECONDS = 30
"""A message not picked up for so long counts as lost by the broker and is sent again."""


async def enqueue(
    session: AsyncSession,
    actor: str,
    *,
    now: datetime,
    max_attempts: int = MAX_ATTEMPTS,
    available_at: datetime | None = None,
    **args: Any,
) -> UUID:
    """Adds a job and its message to the caller's transaction; returns the job's id.

    `args` must be JSON and should be ids: the actor re-reads the state when it runs.
    """
    due = available_at or now
    job_id = uuid4()
    session.add(
        Job(
            id=job_id,
            actor=actor,
            args=args,
            max_attempts=max_attempts,
            available_at=due,
            resend_at=due + timedelta(seconds=RESEND_SECONDS),
            created_at=now,
        )
    )
    await session.flush()
    await post(session, job_id, actor, due)
    return job_id


async def enqueue_many(
    session: AsyncSession, actor: str, all_args: Sequence[Mapping[str, Any]], *, now: datetime
) -> None:
    """`enqueue` of one actor for each of these arguments, in as many statements as for one."""
    if not all_args:
        return
    resend_at = now + timedelta(seconds=RESEND_SECONDS)
    jobs = [
        {
            "id": uuid4(),
            "actor": actor,
            "args": args,
            "max_attempts": MAX_ATTEMPTS,
            "available_at": now,
            "resend_at": resend_at,
            "created_at": now,
        }
        for args in all_args
    ]
    messages = [{"job_id": job["id"], "actor": actor, "available_at": now} for job in jobs]
    await session.execute(insert(Job), jobs)
    await session.execute(insert(OutboxMessage), messages)
    await session.execute(select(func.pg_notify(OUTBOX_CHANNEL, "")))


async def post(session: AsyncSession, job_id: UUID, actor: str, available_at: datetime) -> None:
    """Adds only the message: a job that exists is to be sent (again)."""
    session.add(OutboxMessage(job_id=job_id, actor=actor, available_at=available_at))
    await session.flush()
    await session.execute(select(func.pg_notify(OUTBOX_CHANNEL, "")))
