"""Rate limits: so many calls of an operation by a caller within so many seconds."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2s
from typing import Any, TypeVar

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from auth.circuit import Circuit
from auth.errors import RateLimited
from auth.windows import Window, whole_seconds

Storage = RedisStorage | MemoryStorage
T = TypeVar("T")

CONNECTIONS = 16
MOST_IN_MEMORY = 10_000
"""Counters kept while Redis is away: the memory storage walks through all of them at every hit."""


@dataclass(frozen=True)
class Allowance:
    """`reset_at`: when all of `limit` is there again, if nothing more is used."""

    limit: int
    remaining: int
    reset_at: datetime


class RateLimiter:
    """Counts in Redis, so that all processes share one count.

    While Redis does not answer within `timeout_seconds`, each process counts by itself: limits
    are then looser (by the number of processes, and starting from zero), but nobody is locked out
    and nobody goes without a limit. Redis is asked again every `retry_seconds`.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        enabled: bool = True,
        timeout_seconds: float = 0.25,
        retry_seconds: float = 5.0,
    ) -> None:
        self.enabled = enabled
        self._timeout = timeout_seconds
        self._pool = ConnectionPool.from_url(
            redis_url,
            max_connections=CONNECTIONS,
            # Once more, for the connections that a restart of Redis has left dead in the pool;
            # never after a time-out, where the call may have been counted.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        options: dict[str, Any] = {"connection_pool": self._pool}  # limits types it too narrowly
        self._shared = RedisStorage("async+redis://", implementation="redispy", **options)
        self._own = MemoryStorage()
        self._circuit = Circuit("redis (rate limits)", retry_seconds)
        # Waiting for a connection is our own load and must not count as Redis's silence.
        self._slots = asyncio.Semaphore(CONNECTIONS)

    async def hit(
        self, operation: str, caller: str, limit: int, window_seconds: int, cost: int = 1
    ) -> Allowance:
        """Takes `cost` from the caller's allowance.

        Raises RateLimited, having taken nothing, when too little is left.
        """
        if not self.enabled:
            return _untouched(limit)
        item = RateLimitItemPerSecond(limit, window_seconds)
        names = (operation, _digest(caller))

        async def take(storage: Storage) -> tuple[bool, Window]:
            # The sliding counter keeps two numbers a caller (240 bytes) and goes by Redis's clock.
            # The moving window is exact, but keeps a time stamp for every unit of cost (20 KB at
            # a limit of 1,000) and goes by the clock of whichever process asks. Both take 0.09 ms.
            granted = await SlidingWindowCounterRateLimiter(storage).hit(item, *names, cost=cost)
            return granted, await _read(storage, item, names)

        granted, window = await self._ask(take)
        if not granted:
            raise RateLimited(whole_seconds(window.wait(cost)))
        return _allowance(window)

    async def peek(self, operation: str, caller: str, limit: int, window_seconds: int) -> Allowance:
        """What is left; takes nothing and never raises RateLimited."""
        if not self.enabled:
            return _untouched(limit)
        item = RateLimitItemPerSecond(limit, window_seconds)
        names = (operation, _digest(caller))
        return _allowance(await self._ask(lambda storage: _read(storage, item, names)))

    async def close(self) -> None:
        await self._pool.aclose()

    async def _ask(self, work: Callable[[Storage], Awaitable[T]]) -> T:
        async with self._slots:
            if self._circuit.admits():
                try:
                    async with asyncio.timeout(self._timeout):
                        answer = await work(self._shared)
                except (RedisError, OSError) as error:
                    self._circuit.failed(error)
                else:
                    self._circuit.succeeded()
                    return answer
        if len(self._own.storage) > MOST_IN_MEMORY:
            await self._own.reset()
        return await work(self._own)


async def _read(storage: Storage, item: RateLimitItem, names: tuple[str, str]) -> Window:
    length = item.get_expiry()
    previous, previous_ttl, current, ttl = await storage.get_sliding_window(
        item.key_for(*names), length
    )
    # A window's counter is kept for one more length, as the next window's previous one.
    return Window(item.amount, length, previous, previous_ttl, current, max(0.0, ttl - length))


def _allowance(window: Window) -> Allowance:
    reset_at = datetime.now(UTC) + timedelta(seconds=window.wait(window.limit))
    return Allowance(window.limit, window.remaining, reset_at)


def _untouched(limit: int) -> Allowance:
    return Allowance(limit, limit, datetime.now(UTC))


def _digest(caller: str) -> str:
    """Short whatever the caller's length, and no address or e-mail lies about in Redis."""
    return blake2s(caller.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
