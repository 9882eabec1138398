"""Starts real workers and schedulers on a test's database, and looks at what they did."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.outbox import enqueue
from tasks.leadership import LOCK_KEY
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

PATIENT = 90.0
"""Seconds for what has to happen, however busy the machine is. Not a statement about speed."""


async def eventually(
    check: Callable[[], Awaitable[bool]],
    seconds: float = PATIENT,
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


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # no process, or it has just ended
            continue
        if fields[1] == str(pid):
            found.append(int(entry.name))
    return found


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
        return await asyncio.to_thread(process.wait, PATIENT)

    async def thaw(self, process: "subprocess.Popen[bytes]") -> None:
        """Until its main thread has woken and waits again. While it has not handled SIGCONT, the
        kernel gives further signals to other threads, where Python's handlers don't run."""
        process.send_signal(signal.SIGCONT)

        async def waits() -> bool:
            return ") S " in Path(f"/proc/{process.pid}/stat").read_text()

        await eventually(waits, what="the thaw")

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

    async def let_go(self) -> None:
        """What `demo.wait` and `demo.steady` wait for."""
        await self.change(
            "INSERT INTO marks (job_id, kind, attempt) VALUES (gen_random_uuid(), 'go', 0)"
        )

    async def messages(self) -> int:
        """Those that Redis holds, the ones that a worker has not yet done with included."""
        return int(await self.resources.redis.hlen(f"dramatiq:{self.queue_name}.msgs"))

    async def until_all_consumed(self) -> None:
        async def consumed() -> bool:
            return await self.messages() == 0

        await eventually(consumed, what="the end of every message")

    async def until_all_sent(self) -> None:
        async def sent() -> bool:
            statement = "SELECT 1 FROM outbox WHERE dispatched_at IS NULL LIMIT 1"
            return not await self.rows(statement)

        await eventually(sent, what="the sending of every message")

    # --- schedulers

    async def leaders(self) -> list[int]:
        """The database sessions that hold the schedulers' lock."""
        rows = await self.rows(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND (classid::bigint << 32 | objid::bigint) = :key",
            key=LOCK_KEY,
        )
        return [row.pid for row in rows]

    async def until_led(self, otherwise_than_by: int | None = None) -> int:
        found: list[int] = []

        async def led() -> bool:
            nonlocal found
            found = await self.leaders()
            return len(found) == 1 and found != [otherwise_than_by]

        await eventually(led, what="a leader")
        return found[0]

    async def until_another_campaigns(self) -> None:
        """A scheduler has asked for the lock in vain, and will again."""

        async def campaigns() -> bool:
            rows = await self.rows(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE 'SELECT pg_try_advisory_lock%' AND state = 'idle'"
            )
            return bool({row.pid for row in rows} - set(await self.leaders()))

        await eventually(campaigns, what="the campaign of another scheduler")

    async def until_status(self, job_id: UUID, status: str, seconds: float = PATIENT) -> float:
        async def reached() -> bool:
            found: bool = (await self.job(job_id)).status == status
            return found

        return await eventually(reached, seconds, f"{status} of the job")

    async def until_marked(self, kind: str, count: int = 1, seconds: float = PATIENT) -> float:
        async def reached() -> bool:
            return len(await self.marks(kind)) >= count

        return await eventually(reached, seconds, f"{count} times {kind!r}")

    async def until_all_done(self, seconds: float = 2 * PATIENT) -> float:
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
