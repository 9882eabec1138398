"""Shared streams: one source and one execution an event, for all who watch the same.

Whoever joins was admitted by itself. It first gets the present state: the latest answer if that is
a moment old, else one that is made anew, because what time alone changes is told by no event.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Protocol

from graphql import GraphQLError
from prometheus_client import Gauge

from schema.edge.context import Context
from schema.edge.execution import Schema
from schema.edge.nobody import Nobody
from schema.edge.streams import Refused, Request, Stream, failure

FRESH_SECONDS = 1.0
"""How old an answer may be that is given to a newcomer as the present state."""

STREAMS = Gauge("auspex_shared_streams", "Sources that several subscribers may watch.")


class Subscriber(Protocol):
    """None of these waits: what one subscriber is slow to take must not hold up the next."""

    def tell(self, payload: str) -> None:
        """The next answer, as JSON."""

    def refuse(self, errors: Sequence[GraphQLError]) -> None:
        """The stream could not begin."""

    def end(self) -> None:
        """There is nothing more to come."""


Leave = Callable[[], None]


class Broadcasts:
    """The shared streams of a process, by document, operation and variables."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._running: dict[bytes, Broadcast] = {}

    def join(self, request: Request, context: Context, subscriber: Subscriber) -> Leave:
        """Returns what ends the subscription from the subscriber's side."""
        key = request.key
        broadcast = self._running.get(key)
        if broadcast is None:
            nobody = Nobody(context.services, context.request_id)
            broadcast = Broadcast(self.schema, request, nobody, partial(self._forget, key))
            self._running[key] = broadcast
        broadcast.join(subscriber)
        return partial(broadcast.leave, subscriber)

    def _forget(self, key: bytes, broadcast: "Broadcast") -> None:
        if self._running.get(key) is broadcast:
            del self._running[key]


class Broadcast:
    """One source, and those who watch it."""

    def __init__(
        self,
        schema: Schema,
        request: Request,
        context: Nobody,
        forget: Callable[["Broadcast"], None],
    ) -> None:
        self.schema = schema
        self.request = request
        self.context = context
        self._forget = forget
        self._subscribers: dict[Subscriber, None] = {}
        self._newcomers: list[Subscriber] = []
        self._latest: str | None = None
        self._told_at = 0.0
        self._greeting: asyncio.Task[None] | None = None
        self._source = asyncio.create_task(self._run())

    def join(self, subscriber: Subscriber) -> None:
        self._subscribers[subscriber] = None
        if self._latest is None:
            return  # the first event is on its way, to all
        if asyncio.get_running_loop().time() - self._told_at <= FRESH_SECONDS:
            subscriber.tell(self._latest)
            return
        self._newcomers.append(subscriber)
        if self._greeting is None:
            self._greeting = asyncio.create_task(self._greet())

    def leave(self, subscriber: Subscriber) -> None:
        """The last one to leave closes the source."""
        self._subscribers.pop(subscriber, None)
        if not self._subscribers:
            self._forget(self)
            self._source.cancel()

    async def _run(self) -> None:
        STREAMS.inc()
        try:
            stream = await self._open(self.context)
            async with aclosing(stream.source):
                async for event in stream.source:
                    self._tell_all(await stream.answer(event))
        except Refused as refusal:
            for subscriber in self._dismiss():
                subscriber.refuse(refusal.errors)
        except Exception as fault:  # noqa: BLE001 - described, and logged if nobody expected it
            self._tell_all(failure(fault, self.context))
        finally:
            STREAMS.dec()
            if self._greeting is not None:
                self._greeting.cancel()
            for subscriber in self._dismiss():
                subscriber.end()

    async def _open(self, context: Nobody) -> Stream:
        return await Stream.open(self.schema.plan(self.request, context), context)

    def _tell_all(self, payload: str) -> None:
        self._newcomers.clear()  # it is the present state for them too
        self._latest = payload
        self._told_at = asyncio.get_running_loop().time()
        for subscriber in self._subscribers:
            subscriber.tell(payload)

    def _dismiss(self) -> list[Subscriber]:
        """Those who are still there; whoever comes from now on begins a stream anew."""
        self._forget(self)
        self._tell_newcomers(self._latest)
        gone = list(self._subscribers)
        self._subscribers.clear()
        return gone

    def _tell_newcomers(self, payload: str | None) -> None:
        newcomers, self._newcomers = self._newcomers, []
        for subscriber in newcomers:
            if payload is not None and subscriber in self._subscribers:  # it may have left
                subscriber.tell(payload)

    async def _greet(self) -> None:
        """Gives newcomers the first event of a source of its own."""
        context = Nobody(self.context.services, self.context.request_id)
        try:
            while self._newcomers:
                before = self._latest
                payload = await self._present(context)
                if self._latest is before:  # else an event overtook the reading
                    self._latest, self._told_at = payload, asyncio.get_running_loop().time()
                    self._tell_newcomers(payload)
        except Exception as fault:  # noqa: BLE001 - the same as in the stream
            self._turn_away(failure(fault, context))
        finally:
            self._greeting = None

    async def _present(self, context: Nobody) -> str | None:
        stream = await self._open(context)
        async with aclosing(stream.source):
            async for event in stream.source:
                return await stream.answer(event)
        return self._latest

    def _turn_away(self, payload: str) -> None:
        """The present state can't be had: what would have ended a stream of their own."""
        newcomers = [one for one in self._newcomers if one in self._subscribers]
        self._tell_newcomers(payload)
        for subscriber in newcomers:
            self.leave(subscriber)
            subscriber.end()
