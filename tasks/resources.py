"""What the entry points hand down: nothing in this package looks at the environment."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.asyncio import Redis

from db.session import Database
from db.transactions.models import TrainedArtifact


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Training:
    """What a training brought: `better_than` is the champion's version id it was measured against
    (None: there was none), `good_enough` whether it may replace it. `publish` is called once it
    has: after the commit, so that no file tells of a promotion that was rolled back."""

    artifact: TrainedArtifact
    better_than: int | None
    good_enough: bool
    publish: Callable[[], None] | None = None


Train = Callable[[str], Awaitable[Training]]
"""Trains the model of this key. Must leave the event loop free (`tasks.child.run_in_child`) and
stop when it is cancelled."""


@dataclass(frozen=True)
class Resources:
    """Made inside the event loop that uses them: connections belong to their loop."""

    database: Database
    redis: Redis
    train: Train | None = None
    now: Callable[[], datetime] = utc_now


@dataclass(frozen=True)
class JobSetup:
    """What an entry point reads from the settings, for a worker as for the scheduler."""

    broker_url: str
    queue_name: str
    open_resources: Callable[[], AbstractAsyncContextManager[Resources]]
