"""How a job is declared, and what its handler is given.

A handler re-reads the state, works, and stores its outcome in a transaction of its own, in which
it calls `context.finish(session)`:

    @job("models.train")
    async def train(context: JobContext, args: JobArgs) -> None:
        ...
        async with context.database.transaction() as session:
            await context.finish(session)
            await store_outcome(session, ...)
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Database
from db.transactions.jobs import FIRST_RETRY_SECONDS, finish_job
from tasks.resources import Resources

JobArgs = Mapping[str, Any]


class GiveUp(Exception):
    """Raised by a handler when another attempt can't end better: the job is buried at once."""


@dataclass
class JobContext:
    resources: Resources
    job_id: UUID
    attempt: int
    finished: bool = field(default=False, init=False)

    @property
    def database(self) -> Database:
        return self.resources.database

    @property
    def redis(self) -> Redis:
        """For `db.events.publish`, after the commit."""
        return self.resources.redis

    def now(self) -> datetime:
        return self.resources.now()

    async def finish(self, session: AsyncSession) -> None:
        """Marks the job done in the caller's transaction, the one that stores the outcome.

        Raises LeaseLost if another attempt has taken over, and with it nothing is stored. Called
        first, it also keeps the others waiting until the transaction has ended.
        """
        await finish_job(session, self.job_id, self.attempt, self.now())
        self.finished = True


@dataclass(frozen=True)
class FailedJob:
    """`error` is fit to be stored and shown: bounded, without secrets."""

    id: UUID
    args: JobArgs
    error: str
    now: datetime


Handler = Callable[[JobContext, JobArgs], Awaitable[None]]
OnExhausted = Callable[[AsyncSession, FailedJob], Awaitable[Sequence[str]]]
"""Settles what the job leaves open, in the transaction that buries it. Returns the topics of
`db.events` to publish once that is committed."""


@dataclass(frozen=True)
class JobDefinition:
    """How often a job is tried is said where it is enqueued, and stored with it."""

    name: str
    handler: Handler
    on_exhausted: OnExhausted | None
    lease_seconds: float
    time_limit_seconds: float
    first_retry_seconds: float


JOBS: dict[str, JobDefinition] = {}
"""Every declared job by name. `tasks/__init__.py` imports the modules that declare them."""


def job(
    name: str,
    *,
    on_exhausted: OnExhausted | None = None,
    lease_seconds: float = 15.0,
    time_limit_seconds: float = 600.0,
    first_retry_seconds: float = FIRST_RETRY_SECONDS,
) -> Callable[[Handler], JobDefinition]:
    """Declares the handler of the jobs enqueued under this name.

    `lease_seconds`: how soon another worker takes over from a dead one. The living one extends it
    every third of that, so a handler must not block the event loop nearly as long.
    `time_limit_seconds`: an attempt that takes longer has failed.
    """

    def declare(handler: Handler) -> JobDefinition:
        if name in JOBS:
            raise ValueError(f"job {name!r} is declared twice")
        JOBS[name] = JobDefinition(
            name, handler, on_exhausted, lease_seconds, time_limit_seconds, first_retry_seconds
        )
        return JOBS[name]

    return declare
