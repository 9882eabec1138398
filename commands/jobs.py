"""The worker, the scheduler, and a look at what they do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

import typer
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from commands.operator import now, open_database, settings_with_logs
from commands.training import train_for_job
from db.queries.jobs import FailedJobRow, QueueFigures, failed_jobs, queue_figures
from db.transactions.jobs import requeue_failed_job
from settings import Settings
from tasks.resources import JobSetup, Resources
from tasks.schedule import run_scheduler
from tasks.worker import run_worker

jobs = typer.Typer(help="Look at failed jobs and run them again.", no_args_is_help=True)
MOST_LISTED = 100
IDLE_SECONDS = 60.0
"""A frozen worker gives its locks back after that. None for waiting: whoever holds a lock for long
is another job, and a job has time."""
WORKER_CONNECTIONS = 16  # a job and its heartbeat need one each


def job_setup() -> JobSetup:
    """What each worker process calls (`commands.jobs:job_setup`), and the scheduler."""
    settings = settings_with_logs()

    @asynccontextmanager
    async def open_resources() -> AsyncIterator[Resources]:
        redis = Redis.from_url(settings.redis_url, socket_connect_timeout=2)
        try:
            async with open_database(settings, WORKER_CONNECTIONS, IDLE_SECONDS) as database:
                train = train_for_job(database, settings)
                yield Resources(database=database, redis=redis, train=train)
        finally:
            await redis.aclose()

    return JobSetup(settings.broker_url, settings.queue_name, open_resources)


def worker(
    processes: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Jobs at a time in each.")] = 4,
) -> None:
    """Carry out jobs: predictions, training, notification rounds, imports."""
    settings_with_logs()
    run_worker("commands.jobs:job_setup", processes=processes, threads=threads)


def scheduler() -> None:
    """Run the recurring work and send what is due. Any number may run; one acts."""
    asyncio.run(run_scheduler(job_setup()))


@jobs.command("list")
def list_jobs() -> None:
    """Jobs that failed for good, latest first."""
    settings = settings_with_logs()
    table = Table("job", "what", "with", "tries", "failed at", "error")
    for row in asyncio.run(_failed(settings)):
        arguments = ", ".join(f"{name}={value}" for name, value in row.args.items())
        moment = row.finished_at.isoformat(timespec="seconds")
        table.add_row(str(row.id), row.actor, arguments, str(row.attempts), moment, row.error or "")
    Console().print(table if table.row_count else "No job has failed.")


async def _failed(settings: Settings) -> list[FailedJobRow]:
    async with open_database(settings) as database, database.read() as reader:
        return await failed_jobs(reader, MOST_LISTED)


@jobs.command()
def retry(job: Annotated[UUID, typer.Argument(help="Id of the job, from `list`.")]) -> None:
    """Queue a failed job again, with all its tries."""
    settings = settings_with_logs()
    if not asyncio.run(_retry(settings, job)):
        raise SystemExit(f"{job} is not a failed job.")
    typer.echo(f"{job} is queued again.")


async def _retry(settings: Settings, job: UUID) -> bool:
    async with open_database(settings) as database, database.transaction() as session:
        return await requeue_failed_job(session, job, now())


def queues() -> None:
    """How much work waits, runs and has failed."""
    settings = settings_with_logs()
    figures = asyncio.run(_figures(settings))
    typer.echo(
        f"queued   {figures.queued:>8}  (longest due for {figures.oldest_due_seconds:.0f} s)"
    )
    typer.echo(f"running  {figures.running:>8}")
    typer.echo(f"failed   {figures.failed:>8}  (see `auspex jobs list`)")
    typer.echo(f"unsent   {figures.unsent_messages:>8}  messages in the outbox")


async def _figures(settings: Settings) -> QueueFigures:
    async with open_database(settings) as database, database.read() as reader:
        return await queue_figures(reader, now())


COMMANDS = {"worker": worker, "scheduler": scheduler, "queues": queues}
