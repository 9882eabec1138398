"""Publishing without waiting: a request must not hang on a Redis that does."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import structlog
from redis.asyncio import Redis

from db.events import publish_all

log = structlog.get_logger(__name__)

PUBLISH_SECONDS = 2.0
MOST_WAITING = 10_000
"""Topics that may wait for a Redis that is slow. What is dropped costs latency only."""


class Announcer:
    """Sends topics from a task of its own; the same topic twice in a row is sent once.

    One a process. `announce` is called after the commit and returns at once.
    """

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._waiting: set[str] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def announce(self, topics: Iterable[str]) -> None:
        self._waiting.update(topics)
        if len(self._waiting) > MOST_WAITING:
            log.warning("events.dropped", topics=len(self._waiting))
            self._waiting.clear()
        if self._waiting:
            self._news.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._send_forever())

    async def stop(self) -> None:
        """Sends what waits, then ends; on a Redis that hangs, after PUBLISH_SECONDS at most."""
        self._stopping = True
        self._news.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PUBLISH_SECONDS + 1)

    async def _send_forever(self) -> None:
        while not self._stopping:
            await self._news.wait()
            await self._send()

    async def _send(self) -> None:
        self._news.clear()
        topics, self._waiting = self._waiting, set()
        with suppress(TimeoutError):
            async with asyncio.timeout(PUBLISH_SECONDS):
                await publish_all(self._redis, topics)
