"""Redis and PostgreSQL of the test's own, stopped, frozen and started again under the jobs."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis, RedisError
from redis.asyncio import Redis as AsyncRedis
from sqlalchemy import text

from db.session import Database, create_engine
from dev.private_postgres import PrivatePostgres
from dev.private_redis import redis_server
from tasks.resources import Resources
from tests.databases import ROOT
from tests.servers import free_port
from tests.tasks.bench import Bench
from tests.tasks.demo_jobs import TABLE

pytestmark = pytest.mark.slow


class ForgetfulRedis:
    """A Redis that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            ["redis-server", *options],
            executable=redis_server(),
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        with Redis.from_url(self.url) as client:
            while not self._answers(client):
                assert self._process.poll() is None, "the Redis of the test ended"
                assert time.monotonic() < deadline, "the Redis of the test did not start"
                time.sleep(0.05)

    @staticmethod
    def _answers(client: Redis) -> bool:
        with suppress(RedisError):
            return bool(client.ping())
        return False

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture
def forgetful_redis(tmp_path: Path) -> Iterator[ForgetfulRedis]:
    server = ForgetfulRedis(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
async def redis_bench(bench: Bench, forgetful_redis: ForgetfulRedis) -> Bench:
    """The bench with the broker on the Redis of this test."""
    bench.variables["DEMO_REDIS_URL"] = forgetful_redis.url
    return bench


async def test_every_job_ends_though_redis_forgets_the_messages(
    redis_bench: Bench, forgetful_redis: ForgetfulRedis
) -> None:
    bench = redis_bench
    bench.start_scheduler()
    ids = [await bench.enqueue("demo.sleep", seconds=0.2) for _ in range(100)]
    await bench.until_all_sent()
    bench.start_worker(threads=2)
    await bench.until_marked("outcome", 10)
    forgetful_redis.kill()
    ids += [await bench.enqueue("demo.sleep", seconds=0.2) for _ in range(20)]
    await asyncio.sleep(1)
    lost = 100 - len(await bench.marks("started"))
    assert lost > 20, "the end came too late to lose anything"
    forgetful_redis.start()
    await bench.until_all_sent()
    await bench.pretend_time_passed(40)
    await bench.until_all_done()
    outcomes = [row.job_id for row in await bench.marks("outcome")]
    assert sorted(outcomes) == sorted(ids)


async def test_a_frozen_redis_blocks_no_transaction(
    redis_bench: Bench, forgetful_redis: ForgetfulRedis
) -> None:
    bench = redis_bench
    bench.start_scheduler()
    bench.start_worker()
    first = await bench.enqueue("demo.store")
    await bench.until_status(first, "SUCCEEDED")

    forgetful_redis.signal(signal.SIGSTOP)
    start = time.monotonic()
    ids = [await bench.enqueue("demo.store") for _ in range(5)]
    # Each of them would take 3 s at the least if it waited for Redis.
    assert time.monotonic() - start < 10
    oldest = 0.0
    for _ in range(50):
        rows = await bench.rows(
            "SELECT coalesce(extract(epoch FROM max(now() - xact_start)), 0) AS seconds"
            " FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        oldest = max(oldest, float(rows[0].seconds))
        await asyncio.sleep(0.1)
    assert oldest < 2.5  # the relay waits for Redis for 3 s at the least
    assert len(await bench.rows("SELECT 1 FROM outbox WHERE dispatched_at IS NULL")) == 5

    forgetful_redis.signal(signal.SIGCONT)
    await bench.until_all_done()
    assert len(await bench.marks("outcome")) == len(ids) + 1


@pytest.fixture
def postgres() -> Iterator[PrivatePostgres]:
    # Not tmp_path: the server may run as another user, who can't enter it.
    folder = Path(tempfile.mkdtemp(prefix="auspex-"))
    folder.chmod(0o755)
    server = PrivatePostgres(folder / "postgres")
    try:
        server.start()
        environment = {"PATH": os.environ["PATH"], "DATABASE_URL": server.url, "DEBUG": "true"}
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def postgres_bench(
    postgres: PrivatePostgres, redis_address: str, queue_name: str
) -> AsyncIterator[Bench]:
    database = Database(create_engine(postgres.url))
    async with database.transaction() as session:
        await session.execute(text(TABLE))
    async with AsyncRedis.from_url(redis_address) as redis:
        made = Bench(Resources(database, redis), postgres.url, redis_address, queue_name)
        yield made
        await made.end_all()
    await database.close()


async def test_every_job_ends_though_postgresql_restarts(
    postgres_bench: Bench, postgres: PrivatePostgres
) -> None:
    bench = postgres_bench
    scheduler, worker = bench.start_scheduler(), bench.start_worker(threads=4)
    ids = [await bench.enqueue("demo.sleep", seconds=0.3) for _ in range(40)]
    await bench.until_marked("outcome", 5)
    # In this thread: the server dies with the thread that started it.
    postgres.stop()
    await asyncio.sleep(2)
    postgres.start()
    await bench.until_all_done()
    outcomes = [row.job_id for row in await bench.marks("outcome")]
    assert sorted(outcomes) == sorted(ids)
    assert (scheduler.poll(), worker.poll()) == (None, None)
