"""Requests that meet at one key are answered together, first come first served.

A flash sale is one hot row. One transaction for each buyer makes them queue for its lock; one for
all who are waiting takes the lock once. Nobody waits for company: what comes while nothing runs for
its key is run at once, and what comes meanwhile is the next batch.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q")
A = TypeVar("A")

LARGEST_BATCH = 64

Answer = Callable[[K, Sequence[Q]], Awaitable[Sequence[A]]]
"""Answers the requests of one key together, in their order; raises if none could be answered."""


class Combiner(Generic[K, Q, A]):
    """One a process. A caller that gives up before its batch starts is left out of it; one that
    gives up later changes nothing for the others."""

    def __init__(self, answer: Answer[K, Q, A], largest_batch: int = LARGEST_BATCH) -> None:
        self._answer = answer
        self._largest_batch = largest_batch
        self._waiting: dict[K, deque[tuple[Q, asyncio.Future[A]]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, key: K, request: Q) -> A:
        """The answer to this request. Raises what the batch raised."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        if key in self._waiting:
            self._waiting[key].append((request, future))
        else:
            self._waiting[key] = deque([(request, future)])
            # A task of its own: a caller that is cancelled must not take the others with it.
            task = asyncio.create_task(self._serve(key))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    async def _serve(self, key: K) -> None:
        waiting = self._waiting[key]
        try:
            while waiting:
                size = min(len(waiting), self._largest_batch)
                batch = [waiting.popleft() for _ in range(size)]
                await self._answer_batch(key, [(q, f) for q, f in batch if not f.done()])
        finally:
            del self._waiting[key]

    async def _answer_batch(self, key: K, batch: list[tuple[Q, "asyncio.Future[A]"]]) -> None:
        if not batch:
            return
        try:
            answers = await self._answer(key, [request for request, _ in batch])
        except Exception as error:  # noqa: BLE001 - it is handed to those who asked
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def stop(self) -> None:
        """Waits for what runs."""
        while self._running:
            await asyncio.wait(self._running)
