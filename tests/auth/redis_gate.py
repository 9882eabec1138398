"""A door in front of the real Redis that a test can freeze, slam and slow down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Gate:
    def __init__(self, redis_url: str) -> None:
        parts = urlsplit(redis_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 6379
        self._path = parts.path
        credentials, at, _ = parts.netloc.rpartition("@")
        self._credentials = credentials + at
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None] | None] = set()
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://{self._credentials}127.0.0.1:{self.port}{self._path}"

    def freeze(self) -> None:
        """Connections stay, and new ones are accepted; nothing passes."""
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    def slam(self) -> None:
        """What a restart of Redis does to the connections that were open."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def ended(self) -> None:
        await asyncio.gather(*filter(None, self._serving), return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._serving.add(asyncio.current_task())
        inner_reader, inner_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, inner_writer}
        await asyncio.gather(self._pass(reader, inner_writer), self._pass(inner_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def gate_before(redis_url: str) -> AsyncIterator[Gate]:
    gate = Gate(redis_url)
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    gate.port = server.sockets[0].getsockname()[1]
    try:
        yield gate
    finally:
        gate.thaw()
        server.close()
        gate.slam()
        await gate.ended()
        await server.wait_closed()
