"""Jobs and an entry point for the tests: real workers and schedulers run them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.session import Database, create_engine
from logs import configure_logs
from tasks.child import run_in_child
from tasks.jobs import FailedJob, GiveUp, JobArgs, JobContext, job
from tasks.resources import JobSetup, Resources

LEASE_SECONDS = 1.5
"""Of the jobs whose tests wait until a lease lapses. A busy machine may let one of a living worker
lapse, so no such test counts on a particular attempt. The other jobs have the usual lease."""

TABLE = """
CREATE TABLE marks (
    job_id uuid NOT NULL,
    kind text NOT NULL,
    attempt int NOT NULL,
    note text,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


async def mark(
    session: AsyncSession, job_id: object, kind: str, attempt: int, note: str | None = None
) -> None:
    statement = text("INSERT INTO marks (job_id, kind, attempt, note) VALUES (:j, :k, :a, :n)")
    await session.execute(statement, {"j": job_id, "k": kind, "a": attempt, "n": note})


async def note(context: JobContext, kind: str, text_: str | None = None) -> None:
    """In a transaction of its own: seen at once, whatever becomes of the job."""
    async with context.database.transaction() as session:
        await mark(session, context.job_id, kind, context.attempt, text_)


async def store(context: JobContext) -> None:
    async with context.database.transaction() as session:
        await mark(session, context.job_id, "outcome", context.attempt)
        await context.finish(session)


@job("demo.store")
async def store_at_once(context: JobContext, args: JobArgs) -> None:
    await note(context, "started")
    await store(context)


@job("demo.sleep", lease_seconds=LEASE_SECONDS)
async def sleep_first(context: JobContext, args: JobArgs) -> None:
    await note(context, "started")
    await asyncio.sleep(args["seconds"])
    await store(context)


async def wait_for_leave(context: JobContext, args: JobArgs) -> None:
    """Goes on when the test lets it (`Bench.let_go`)."""
    await note(context, "started")
    while True:
        async with context.database.read() as reader:
            if (await reader.execute(text("SELECT 1 FROM marks WHERE kind = 'go'"))).first():
                break
        await asyncio.sleep(0.05)
    await store(context)


job("demo.wait", lease_seconds=LEASE_SECONDS)(wait_for_leave)
job("demo.steady")(wait_for_leave)


@job("demo.flaky", first_retry_seconds=0.1)
async def fail_at_first(context: JobContext, args: JobArgs) -> None:
    if context.attempt <= args["failures"]:
        raise ConnectionError("refused by amqp://guest:s3cret@broker")
    await store(context)


async def settle(session: AsyncSession, failed: FailedJob) -> Sequence[str]:
    await mark(session, failed.id, "exhausted", 0, failed.error)
    return ("demo",)


@job("demo.poison", on_exhausted=settle, first_retry_seconds=0.1)
async def always_fail(context: JobContext, args: JobArgs) -> None:
    await note(context, "started")
    raise ValueError("poison")


@job("demo.hopeless", on_exhausted=settle)
async def give_up(context: JobContext, args: JobArgs) -> None:
    raise GiveUp("nothing to do it with")


@job("demo.suicide", on_exhausted=settle, lease_seconds=LEASE_SECONDS)
async def kill_own_worker(context: JobContext, args: JobArgs) -> None:
    await note(context, "started")
    os._exit(9)


@job("demo.endless", on_exhausted=settle, time_limit_seconds=0.5)
async def never_end(context: JobContext, args: JobArgs) -> None:
    await asyncio.sleep(3_600)


@job("demo.forgetful", on_exhausted=settle)
async def forget_to_finish(context: JobContext, args: JobArgs) -> None:
    await asyncio.sleep(0)


def burn(seconds: float) -> int:
    """Holds the interpreter's lock of its process, as a training does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return os.getpid()


def burn_and_tell(seconds: float, file: str) -> int:
    with open(file, "w", encoding="ascii") as written:  # noqa: PTH123 - runs in a bare child
        written.write(str(os.getpid()))
    return burn(seconds)


@job("demo.train", lease_seconds=LEASE_SECONDS)
async def train(context: JobContext, args: JobArgs) -> None:
    await note(context, "started")
    await run_in_child(burn_and_tell, args["seconds"], args["file"])
    await store(context)


@asynccontextmanager
async def open_resources(database_url: str, redis_url: str) -> AsyncIterator[Resources]:
    database = Database(create_engine(database_url, pool_size=10))
    redis = Redis.from_url(redis_url)
    try:
        yield Resources(database, redis)
    finally:
        await redis.aclose()
        await database.close()


def setup_from_environment() -> JobSetup:
    configure_logs(app_name="demo", level="INFO", readable=True)
    database_url, redis_url = os.environ["DEMO_DATABASE_URL"], os.environ["DEMO_REDIS_URL"]
    return JobSetup(
        broker_url=os.environ.get("DEMO_BROKER_URL", redis_url),
        queue_name=os.environ["DEMO_QUEUE"],
        open_resources=lambda: open_resources(database_url, redis_url),
    )
