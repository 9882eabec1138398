"""Starts real workers and schedulers on a test's database, and looks at what they did."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.outbox import enqueue
from tasks.resources import Resources
from tests.databases import ROOT

ENTRY = "tests.tasks.demo_jobs:setup_from_environment"
SCHEDULER = (
    "import asyncio; from tests.tasks.demo_jobs import setup_from_environment as setup;"
    "from tasks.schedule import run_scheduler; asyncio.run(run_scheduler(setup()))"
)
SUPERVISOR = (
    "import sys; from tasks.worker import run_worker;"
    f"run_worker('{ENTRY}', processes=int(sys.argv[1]), threads=int(sys.argv[2]))"
)


async def eventually(
    check: Callable[[], Awaitable[bool]],
    seconds: float = 20.0,
    what: str = "it",
    step: float = 0.05,
) -> float:
    """Waits until the check holds; how long that took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while not await check():
        if loop.time() - start > seconds:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        await asyncio.sleep(step)
    return loop.time() - start


class Bench:
    def __init__(
        self, resources: Resources, database_url: str, redis_url: str, queue_name: str
    ) -> None:
        self.resources = resources
        self.database = resources.database
        self.queue_name = queue_name
        self.variables = {
            "DEMO_DATABASE_URL": database_url,
            "DEMO_REDIS_URL": redis_url,
            "DEMO_QUEUE": queue_name,
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    # --- processes

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                **self.variables,
            },
        )
        self._processes.append(process)
        return process

    def start_worker(self, threads: int = 4) -> "subprocess.Popen[bytes]":
        """One worker process, without its supervisor."""
        return self._start("-m", "tasks.worker_process", ENTRY, str(threads), str(os.getpid()))

    def start_supervisor(self, processes: int, threads: int = 4) -> "subprocess.Popen[bytes]":
        return self._start("-c", SUPERVISOR, str(processes), str(threads))

    def start_scheduler(self) -> "subprocess.Popen[bytes]":
        return self._start("-c", SCHEDULER)

    async def end(self, process: "subprocess.Popen[bytes]", how: int = signal.SIGTERM) -> int:
        if process.poll() is None:
            process.send_signal(how)
        return await asyncio.to_thread(process.wait, 40)

    async def end_all(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            await asyncio.to_thread(process.wait)

    # --- jobs

    async def enqueue(self, actor: str, max_attempts: int = 5, **args: Any) -> UUID:
        async with self.database.transaction() as session:
            return await enqueue(
                session, actor, now=self.resources.now(), max_attempts=max_attempts, **args
            )

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.database.read() as reader:
            return list(await reader.execute(text(statement), values))

    async def change(self, statement: str, **values: Any) -> None:
        async with self.database.transaction() as session:
            await session.execute(text(statement), values)

    async def job(self, job_id: UUID) -> Any:
        return (await self.rows("SELECT * FROM jobs WHERE id = :id", id=job_id))[0]

    async def sent(self, job_id: UUID) -> bool:
        statement = "SELECT 1 FROM outbox WHERE job_id = :id AND dispatched_at IS NOT NULL"
        return bool(await self.rows(statement, id=job_id))

    async def marks(self, kind: str, job_id: UUID | None = None) -> list[Any]:
        rows = await self.rows("SELECT * FROM marks WHERE kind = :kind ORDER BY at", kind=kind)
        return [row for row in rows if job_id in (None, row.job_id)]

    async def until_status(self, job_id: UUID, status: str, seconds: float = 20.0) -> float:
        async def reached() -> bool:
            found: bool = (await self.job(job_id)).status == status
            return found

        return await eventually(reached, seconds, f"{status} of the job")

    async def until_marked(self, kind: str, count: int = 1, seconds: float = 20.0) -> float:
        async def reached() -> bool:
            return len(await self.marks(kind)) >= count

        return await eventually(reached, seconds, f"{count} times {kind!r}")

    async def until_all_done(self, seconds: float = 30.0) -> float:
        async def reached() -> bool:
            left = await self.rows("SELECT 1 FROM jobs WHERE status <> 'SUCCEEDED' LIMIT 1")
            return not left

        return await eventually(reached, seconds, "the end of every job")

    async def pretend_time_passed(self, seconds: float) -> None:
        """For what waits longer than a test should: every time of jobs and messages goes back."""
        for column in ("resend_at", "leased_until"):
            await self.change(
                f"UPDATE jobs SET {column} = {column} - make_interval(secs => :s)", s=seconds
            )
        await self.change(
            "UPDATE outbox SET dispatched_at = dispatched_at - make_interval(secs => :s)",
            s=seconds,
        )
