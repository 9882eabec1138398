"""A Redis of a test's own, without persistence: a restart forgets every message."""

import asyncio
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from dev.private_redis import redis_server
from tests.servers import free_port


class OwnRedis:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            await self._start()
        except BaseException:
            await self._kill()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._kill()

    async def restart_empty(self) -> None:
        await self._kill()
        await self._start()

    async def _start(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly"]
        self._process = subprocess.Popen(
            ["redis-server", *options, "no", "--dir", str(self.folder)],
            executable=redis_server(),
            stdout=subprocess.DEVNULL,
        )
        async with Redis.from_url(self.url) as client:
            for _ in range(600):
                if self._process.poll() is not None:
                    raise RuntimeError(f"the Redis ended with {self._process.returncode}")
                try:
                    await client.ping()
                except (RedisError, OSError):
                    await asyncio.sleep(0.05)
                else:
                    return
        raise TimeoutError("the private Redis did not start")

    async def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
