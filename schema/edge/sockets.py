"""graphql-transport-ws on one socket: what the client says, and who does it.

It stands in place of Strawberry's handler, which keeps a task, a context, an executor and several
generators for each subscription, and writes JSON anew for each.
"""

import asyncio
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from schema.edge.broadcasts import Broadcasts
from schema.edge.context import Context
from schema.edge.execution import Schema
from schema.edge.messages import malformed
from schema.edge.socket_operations import Operation
from schema.edge.streams import Request

INIT_SECONDS = 60.0
MOST_OPERATIONS = 50
LONGEST_REASON = 120
"""Bytes; a close frame has room for 123."""


class Socket:
    """A connection, from its acceptance to its end."""

    __slots__ = (
        "_acknowledged",
        "_greeted",
        "_patience",
        "_websocket",
        "broadcasts",
        "context",
        "operations",
        "schema",
    )

    def __init__(
        self, websocket: WebSocket, schema: Schema, broadcasts: Broadcasts, context: Context
    ) -> None:
        self._websocket = websocket
        self.schema = schema
        self.broadcasts = broadcasts
        self.context = context
        self.operations: dict[str, Operation] = {}
        self._greeted = False
        self._patience: asyncio.TimerHandle | asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Reads until the client is gone or was sent away."""
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(INIT_SECONDS, self._lose_patience)
        try:
            while self._is_open:
                await self._read(await self._receive())  # and keep nothing of it while waiting
        except WebSocketDisconnect:
            return
        finally:
            if self._patience is not None:
                self._patience.cancel()
            await self._end_operations()

    async def _receive(self) -> str | None:
        received = await self._websocket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code") or 1005)
        return received.get("text")

    async def send(self, text: str) -> None:
        """Waits while the client reads too slowly. Raises WebSocketDisconnect when it is gone."""
        if not self._is_open:
            raise WebSocketDisconnect(1006)
        try:
            await self._websocket.send_text(text)
        except RuntimeError:  # the server has closed it: no pong came
            raise WebSocketDisconnect(1006) from None

    async def close(self, code: int, reason: str) -> None:
        if self._is_open:
            short = reason.encode()[:LONGEST_REASON].decode(errors="ignore")
            await self._websocket.close(code, short)

    @property
    def _is_open(self) -> bool:
        return self._websocket.application_state is WebSocketState.CONNECTED

    async def _read(self, text: str | None) -> None:
        if text is None:
            await self.close(4400, "WebSocket message type must be text")
            return
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            await self.close(4400, "WebSocket message must be valid JSON")
            return
        if fault := malformed(message):
            await self.close(4400, fault)
        else:
            await self._obey(message)

    async def _obey(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "connection_init":
                await self._greet(message.get("payload", {}))
            case "ping":
                await self.send('{"type":"pong"}')
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(message["id"], message["payload"])
            case "complete":
                if operation := self.operations.get(message["id"]):
                    operation.abandon()
            case unknown:
                await self.close(4400, f"Unknown message type: {unknown}")

    async def _greet(self, payload: dict[str, Any]) -> None:
        if self._greeted:
            await self.close(4429, "Too many initialisation requests")
            return
        self._greeted = True
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self.context.connection_params = payload
        await self.send('{"type":"connection_ack"}')

    async def _subscribe(self, id: str, payload: dict[str, Any]) -> None:
        if not self._greeted:
            await self.close(4401, "Unauthorized")
        elif id in self.operations:
            await self.close(4409, f"Subscriber for {id} already exists")
        else:
            operation = Operation(self, id)
            if len(self.operations) >= MOST_OPERATIONS:
                await operation.send_error([GraphQLError("Subscription limit reached")])
                return
            self.operations[id] = operation
            operation.start(
                Request(payload["query"], payload.get("variables"), payload.get("operationName"))
            )

    def _lose_patience(self) -> None:
        self._patience = asyncio.create_task(self.close(4408, "Connection initialisation timeout"))

    async def _end_operations(self) -> None:
        """Waits for them too, so that what they hold is given back when the socket is gone."""
        at_work = [work for one in list(self.operations.values()) for work in one.abandon()]
        await asyncio.gather(*at_work, return_exceptions=True)
