"""Many subscribers in one process: the least of a WebSocket client, so that it is not measured."""

import asyncio
import base64
import json
import os
import struct
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

TEXT, PING = 1, 9
AT_ONCE = 50
PATIENCE_SECONDS = 60.0
HANDSHAKE = (
    "GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n{extension}"
    "Sec-WebSocket-Key: {key}\r\n\r\n"
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


class Crowd:
    """Opens a socket and a subscription for each payload; counts what they are told."""

    def __init__(self, port: int, payloads: Sequence[dict[str, Any]], *, deflate: bool) -> None:
        self.port = port
        self.payloads = payloads
        self.deflate = deflate
        self.last = 0.0
        self._heard = 0
        self._all_heard = asyncio.Event()
        self._transports: list[asyncio.BaseTransport] = []

    async def open(self) -> None:
        """Returns when each has had its first answer."""
        loop = asyncio.get_running_loop()
        self.expect()
        for start in range(0, len(self.payloads), AT_ONCE):
            some = self.payloads[start : start + AT_ONCE]
            made = await asyncio.gather(
                *(
                    loop.create_connection(partial(_Client, self, one), "127.0.0.1", self.port)
                    for one in some
                )
            )
            self._transports += [transport for transport, _ in made]
        await self.all_heard()

    def close(self) -> None:
        for transport in self._transports:
            cast("asyncio.Transport", transport).abort()

    def expect(self) -> None:
        self._heard = 0
        self._all_heard.clear()

    async def all_heard(self) -> float:
        """When, by the monotonic clock, the last one was told."""
        await asyncio.wait_for(self._all_heard.wait(), PATIENCE_SECONDS)
        return self.last

    def hear(self) -> None:
        self._heard += 1
        if self._heard == len(self.payloads):
            self.last = time.monotonic()
            self._all_heard.set()


class _Client(asyncio.Protocol):
    """A masked frame may have a mask of zeros, and then goes over the wire as it is."""

    def __init__(self, crowd: Crowd, payload: dict[str, Any]) -> None:
        self.crowd = crowd
        self.payload = payload
        self.buffer = b""
        self.connected = False
        self.greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        extension = DEFLATE if self.crowd.deflate else ""
        self.transport.write(HANDSHAKE.format(key=key, extension=extension).encode())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.connected:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if b" 101 " not in self.buffer[:16]:
                raise RuntimeError(self.buffer[:100].decode())
            self.connected, self.buffer = True, self.buffer[end + 4 :]
            self.say({"type": "connection_init", "payload": {}})
        while (frame := self.next_frame()) is not None:
            self.take(*frame)

    def next_frame(self) -> tuple[int, bytes] | None:
        """Operation and body; a server's frames are unmasked, and these are short."""
        if len(self.buffer) < 4:
            return None
        length, start = self.buffer[1], 2
        if length == 126:
            (length,), start = struct.unpack("!H", self.buffer[2:4]), 4
        if len(self.buffer) < start + length:
            return None
        operation, body = self.buffer[0] & 15, self.buffer[start : start + length]
        self.buffer = self.buffer[start + length :]
        return operation, body

    def take(self, operation: int, body: bytes) -> None:
        if operation == PING:
            self.transport.write(bytes([0x8A, 0x80 | len(body)]) + bytes(4) + body)
        elif operation == TEXT and not self.greeted:
            self.greeted = True
            self.say({"type": "subscribe", "id": "1", "payload": self.payload})
        elif operation == TEXT:
            if not self.crowd.deflate and b'"next"' not in body:
                raise RuntimeError(body.decode())
            self.crowd.hear()

    def say(self, message: object) -> None:
        body = json.dumps(message).encode()
        self.transport.write(struct.pack("!BBH", 0x81, 0x80 | 126, len(body)) + bytes(4) + body)
