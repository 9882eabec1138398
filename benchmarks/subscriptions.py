"""1,000 subscribers on one process: how long an event takes to the last of them, and memory.

Ours against Strawberry's own handler, with and without compression, with the same source: 'shared',
everybody watches the same object; 'personal', each gets an object of its own. An event is one
message over Redis in both.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import strawberry
import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from strawberry.asgi import GraphQL

import app as application
from benchmarks.crowd import Crowd
from db.events import Events, publish
from schema.edge.context import Info
from schema.edge.execution import Schema
from schema.edge.fields import PUBLIC, query, subscription
from schema.edge.operations import Operation, cost_weights
from settings import load_or_exit
from tests.databases import ROOT, admin_url, redis_url
from tests.servers import free_port, process_environment

SUBSCRIBERS = 1_000
WARM = 20
EVENTS = 15
TOPIC = "bench"
KINDS = {"shared": "everybody watches the same", "personal": "to each its own"}
SERVERS = {
    "plain-deflate": "Strawberry as it comes",
    "plain": "the same without compression",
    "ours": "ours",
}


@strawberry.type(description="What is watched.")
class Watched:
    id: strawberry.ID
    title: str
    remaining: int
    price: float
    note: str | None


class Hub:
    """Hands an event on to each who listens, as the product does with a round of notices."""

    def __init__(self) -> None:
        self.events: Events | None = None
        self.queues: set[asyncio.Queue[str]] = set()
        self.running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        assert self.events is not None
        async with self.events.listen(TOPIC) as news:
            while True:
                text = await news.get()
                for queue in self.queues:
                    queue.put_nowait(text)

    async def watch(self, id: str) -> AsyncGenerator[Watched, None]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.queues.add(queue)
        self.running = self.running or asyncio.create_task(self.run())
        title, text = f"A flash promo for {id}", "now"
        try:
            while True:
                yield Watched(id=strawberry.ID(id), title=title, remaining=3, price=9.5, note=text)
                text = await queue.get()
        finally:
            self.queues.discard(queue)


hub = Hub()


@strawberry.type(description="Nothing much.")
class Query:
    @query(access=PUBLIC, description="True.")
    async def ok(self) -> bool:
        return True


@strawberry.type(description="What the subscribers ask for.")
class Subscription:
    @subscription(access=PUBLIC, description="For all.", shared=True)
    async def shared(self, info: Info, id: str) -> AsyncIterator[Watched]:
        async for watched in hub.watch(id):
            yield watched

    @subscription(access=PUBLIC, description="For each.")
    async def personal(self, info: Info, id: str) -> AsyncIterator[Watched]:
        async for watched in hub.watch(id):
            yield watched


@strawberry.type(description="The same without declarations of ours.")
class PlainSubscription:
    @strawberry.subscription
    async def shared(self, id: str) -> AsyncIterator[Watched]:
        async for watched in hub.watch(id):
            yield watched

    @strawberry.subscription
    async def personal(self, id: str) -> AsyncIterator[Watched]:
        async for watched in hub.watch(id):
            yield watched


def our_app() -> Starlette:
    """The product, every layer of it, with the schema above."""
    made = Schema(query=Query, subscription=Subscription, extensions=[Operation])
    made.weights = cost_weights(made)
    with patch.object(application, "schema", made):
        app = application.create_app(load_or_exit())
    hub.events = app.state.services.events
    return app


def plain_app() -> Starlette:
    events = hub.events = Events(Redis.from_url(os.environ["REDIS_URL"]))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        events.start()
        yield
        await events.stop()

    made = strawberry.Schema(query=Query, subscription=PlainSubscription)
    return Starlette(routes=[WebSocketRoute("/graphql", GraphQL(made))], lifespan=lifespan)


def serve(server: str, port: int) -> None:
    uvicorn.run(
        our_app() if server == "ours" else plain_app(),
        host="127.0.0.1",
        port=port,
        ws="websockets-sansio",
        ws_per_message_deflate=server == "plain-deflate",
        log_config=None,
        log_level="error",
        access_log=False,
    )


@contextmanager
def process(server: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    variables = {
        "DATABASE_URL": admin_url(),
        "REDIS_URL": redis_url(15),
        "RATE_LIMITS": "false",
        "LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, __file__, server, str(port)]
    started = subprocess.Popen(command, cwd=ROOT, env=process_environment(variables))
    try:
        yield started, port
    finally:
        started.terminate()
        started.wait(20)


async def until_listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))


def payloads(kind: str, count: int) -> list[dict[str, Any]]:
    query = (
        f"subscription w($id: String!) {{ {kind}(id: $id) {{ id title remaining price note }} }}"
    )
    ids = ("all" if kind == "shared" else f"no. {number}" for number in range(count))
    return [{"query": query, "variables": {"id": id}} for id in ids]


def processor_ms(pid: int) -> float:
    figures = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(figures[11]) + int(figures[12])) / os.sysconf("SC_CLK_TCK") * 1e3


async def measure(server: str, kind: str) -> tuple[float, float]:
    """Median ms from publishing to the last subscriber, and KB a subscriber after the events.

    Prints the server's processor time as well, which other work on the machine disturbs less.
    """
    deflate = server == "plain-deflate"
    redis = Redis.from_url(redis_url(15))
    with process(server) as (running, port):
        await until_listening(port)
        warm = Crowd(port, payloads(kind, WARM), deflate=deflate)
        await warm.open()
        warm.close()
        await asyncio.sleep(1)
        before = resident_kb(running.pid)
        crowd = Crowd(port, payloads(kind, SUBSCRIBERS), deflate=deflate)
        await crowd.open()
        took = []
        worked = processor_ms(running.pid)
        for number in range(EVENTS):
            await asyncio.sleep(0.2)
            crowd.expect()
            started = time.monotonic()
            await publish(redis, TOPIC, f"event {number}")
            took.append((await crowd.all_heard() - started) * 1e3)
        worked = (processor_ms(running.pid) - worked) / EVENTS
        memory = (resident_kb(running.pid) - before) / SUBSCRIBERS
        crowd.close()
    await redis.aclose()
    print(
        f"{kind:<9}{SERVERS[server]:<29}last of {SUBSCRIBERS:,} after {median(took):6.1f} ms "
        f"(slowest {max(took):6.1f}), processor {worked:5.1f} ms, {memory:5.1f} KB a subscriber",
        flush=True,
    )
    return median(took), memory


async def main() -> None:
    for kind, meaning in KINDS.items():
        print(f"{kind}: {meaning}")
        *others, ours = [await measure(server, kind) for server in SERVERS]
        for name, (took, memory) in zip(SERVERS.values(), others, strict=False):
            faster, smaller = took / ours[0], memory / ours[1]
            print(f"{'':<9} against {name}: {faster:.1f} times faster, {smaller:.1f} times smaller")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1], int(sys.argv[2]))
    else:
        asyncio.run(main())
