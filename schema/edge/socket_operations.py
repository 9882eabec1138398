"""One operation on a socket, from its `subscribe` to its `complete` or `error`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Protocol, cast

import structlog
from graphql import FieldNode, GraphQLError, OperationDefinitionNode, located_error
from starlette.websockets import WebSocketDisconnect
from strawberry.types.execution import PreExecutionError

from schema.edge.broadcasts import Broadcasts, Leave
from schema.edge.context import Context
from schema.edge.execution import Schema
from schema.edge.fields import token_expired
from schema.edge.operations import OPERATIONS, SECONDS, describe
from schema.edge.sharing import guard_of, shared_field
from schema.edge.streams import Refused, Request, Stream, as_json, failure, payload_of

log = structlog.get_logger(__name__)

MOST_WAITING = 8
"""Answers of a shared stream that a slow reader may lag behind; older ones are dropped."""


class Connection(Protocol):
    """What an operation knows of its socket."""

    schema: Schema
    broadcasts: Broadcasts
    context: Context
    operations: "dict[str, Operation]"

    async def send(self, text: str) -> None:
        """Raises WebSocketDisconnect when there is nobody to read it."""


class Operation:
    """A query or mutation, a stream of its own, or a place among those who share one.

    The first two are a task. The third is no more than this object, which has a task while there
    is something to write: there may be thousands, idle most of the time.
    """

    __slots__ = (
        "_connection",
        "_expiry",
        "_id",
        "_last",
        "_leave",
        "_tally",
        "_task",
        "_waiting",
        "_writer",
    )

    def __init__(self, connection: Connection, id: str) -> None:
        self._connection = connection
        self._id = id
        self._task: asyncio.Task[None] | None = None
        self._tally: Callable[[], None] | None = None
        self._leave: Leave | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._waiting: list[str] = []
        self._last: str | None = None
        self._writer: asyncio.Task[None] | None = None

    def start(self, request: Request) -> None:
        self._task = asyncio.create_task(self._run(request))

    def abandon(self) -> list[asyncio.Task[None]]:
        """The client wants no more of it. Returns what is still being wound up."""
        self._forget()
        self._waiting.clear()
        at_work = [task for task in (self._task, self._writer) if task is not None]
        for task in at_work:
            task.cancel()
        return at_work

    def tell(self, payload: str) -> None:
        if len(self._waiting) == MOST_WAITING:
            del self._waiting[0]
        self._waiting.append(payload)
        self._wake()

    def refuse(self, errors: Sequence[GraphQLError]) -> None:
        self._end(self._error(errors))

    def end(self) -> None:
        self._end(self._message("complete"))

    async def send_error(self, errors: Sequence[GraphQLError]) -> None:
        await self._send_last(self._error(errors))

    async def _run(self, request: Request) -> None:
        connection = self._connection
        try:
            if not connection.schema.subscribes(request, connection.context):
                await self._answer(request)
                return
            stream = await self._subscribe(request, connection.context.for_operation())
            del request  # a stream may be open for days, and is one of thousands
            if stream is not None:
                await self._follow(stream)
        except Refused as refusal:
            await self.send_error(refusal.errors)
        except WebSocketDisconnect:
            pass  # who reads the socket is told so as well
        except Exception:
            log.exception("socket.failed")
            await self._send_last(self._message("complete"))
        finally:
            self._task = None

    async def _answer(self, request: Request) -> None:
        results = await self._connection.schema.stream(
            request.query,
            request.variables,
            context_value=self._connection.context,
            operation_name=request.operation_name,
        )
        async with aclosing(cast("AsyncGenerator[Any, None]", results)):
            async for result in results:
                if isinstance(result, PreExecutionError):
                    await self.send_error(result.errors or ())
                    return
                await self._send_next(payload_of(result.data, result.errors or ()))
        await self._send_last(self._message("complete"))

    async def _subscribe(self, request: Request, context: Context) -> Stream | None:
        """The stream to follow, unless it is shared and followed for all."""
        schema = self._connection.schema
        started = time.perf_counter()
        operation = await schema.admit_subscription(request, context)
        syntax = context.services.documents.read(request.query).syntax
        shared = shared_field(schema.core, syntax, operation)
        self._tally = partial(tally, started, root_name(operation))
        if shared is None:
            return await Stream.open(schema.plan(request, context), context)
        await self._join(request, context, shared)
        return None

    async def _follow(self, stream: Stream) -> None:
        async with aclosing(stream.source):
            try:
                async for event in stream.source:
                    await self._send_next(await stream.answer(event))
            except WebSocketDisconnect:
                raise
            except Exception as fault:  # noqa: BLE001 - described, and logged if unexpected
                await self._send_next(failure(fault, stream.context))
        await self._send_last(self._message("complete"))

    async def _join(self, request: Request, context: Context, field: FieldNode) -> None:
        guard = guard_of(self._connection.schema.core, field)
        try:
            deadline = await guard.admit_until(context, field.name.value)
        except Exception as fault:
            path = [(field.alias or field.name).value]
            raise Refused([describe(located_error(fault, [field], path), context)]) from fault
        if deadline is not None:
            self._expiry = asyncio.get_running_loop().call_at(deadline, self._expire)
        self._leave = self._connection.broadcasts.join(request, context, self)

    def _expire(self) -> None:
        self.tell(failure(token_expired(), self._connection.context))
        self._forget()
        self._end(self._message("complete"))

    def _end(self, last: str) -> None:
        """After what is still waiting."""
        self._leave = None
        self._forget()
        self._last = last
        self._wake()

    def _forget(self) -> None:
        """Gives its id free, and its place in a shared stream."""
        if self._connection.operations.get(self._id) is self:
            del self._connection.operations[self._id]
        if self._leave is not None:
            self._leave()
            self._leave = None
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._tally is not None:
            self._tally()
            self._tally = None

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._send_next(self._waiting.pop(0))
            if self._last is not None:
                await self._connection.send(self._last)
        except WebSocketDisconnect:
            pass  # the same
        finally:
            self._writer = None

    async def _send_next(self, payload: str) -> None:
        # The payload is JSON already, and the same string for all who share a stream.
        await self._connection.send(
            f'{{"id":{as_json(self._id)},"type":"next","payload":{payload}}}'
        )

    async def _send_last(self, message: str) -> None:
        self._forget()
        with suppress(WebSocketDisconnect):
            await self._connection.send(message)

    def _error(self, errors: Sequence[GraphQLError]) -> str:
        return self._message("error", payload=[error.formatted for error in errors])

    def _message(self, type_: str, **more: object) -> str:
        return as_json({"id": self._id, "type": type_, **more})


def root_name(operation: OperationDefinitionNode) -> str:
    """The field of a valid subscription; 'other' if it stands in a fragment."""
    (root,) = operation.selection_set.selections
    return root.name.value if isinstance(root, FieldNode) else "other"


def tally(started: float, field: str) -> None:
    SECONDS.labels("subscription").observe(time.perf_counter() - started)
    OPERATIONS.labels("subscription", field).inc()
