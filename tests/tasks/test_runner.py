"""The runner in this process: what becomes of a job, whatever its handler does."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import structlog
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from db.events import CHANNEL_PREFIX
from tasks.jobs import JOBS, FailedJob, JobArgs, JobContext
from tasks.runner import JobRunner
from tests.tasks.bench import Bench, eventually
from tests.tasks.demo_jobs import LEASE_SECONDS, store


@pytest.fixture
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def runner(bench: Bench) -> JobRunner:
    return JobRunner(bench.resources)


async def attempt_until_settled(bench: Bench, runner: JobRunner, job_id: UUID) -> None:
    """Delivers the message whenever the job is due."""
    while (await bench.job(job_id)).status == "QUEUED":
        await bench.change("UPDATE jobs SET available_at = now() WHERE id = :id", id=job_id)
        await run(bench, runner, job_id)


async def run(bench: Bench, runner: JobRunner, job_id: UUID) -> None:
    await runner.run(JOBS[(await bench.job(job_id)).actor], job_id)


async def test_a_doubled_delivery_runs_once(bench: Bench, runner: JobRunner) -> None:
    job_id = await bench.enqueue("demo.steady")
    delivered = [asyncio.create_task(run(bench, runner, job_id)) for _ in range(8)]

    async def turned_away() -> bool:
        return sum(task.done() for task in delivered) == 7

    await eventually(turned_away)
    await bench.let_go()
    await asyncio.gather(*delivered)
    await run(bench, runner, job_id)
    assert len(await bench.marks("started")) == 1
    assert len(await bench.marks("outcome")) == 1
    assert (await bench.job(job_id)).status == "SUCCEEDED"


async def test_a_failure_is_tried_again_and_then_forgotten(bench: Bench, runner: JobRunner) -> None:
    job_id = await bench.enqueue("demo.flaky", failures=2)
    await run(bench, runner, job_id)
    job = await bench.job(job_id)
    # What is stored names the error, without the password that its text held.
    assert job.error == "ConnectionError: refused by amqp://***@broker"
    await attempt_until_settled(bench, runner, job_id)
    job = await bench.job(job_id)
    assert (job.status, job.attempts, job.error, job.leased_until) == ("SUCCEEDED", 3, None, None)


async def test_poison_stops_and_is_settled_once(
    bench: Bench, runner: JobRunner, redis_address: str
) -> None:
    redis = Redis.from_url(redis_address)
    async with redis.pubsub() as listening:
        await listening.subscribe(CHANNEL_PREFIX + "demo")
        assert await listening.get_message(timeout=20)  # it is subscribed
        job_id = await bench.enqueue("demo.poison", max_attempts=3)
        await attempt_until_settled(bench, runner, job_id)
        await run(bench, runner, job_id)
        message = await listening.get_message(ignore_subscribe_messages=True, timeout=20)
    await redis.aclose()
    assert message is not None
    job = await bench.job(job_id)
    assert (job.status, job.attempts, job.error) == ("FAILED", 3, "ValueError: poison")
    assert len(await bench.marks("started")) == 3
    assert [row.note for row in await bench.marks("exhausted")] == ["ValueError: poison"]


async def test_a_hopeless_job_is_not_tried_again(bench: Bench, runner: JobRunner) -> None:
    job_id = await bench.enqueue("demo.hopeless", max_attempts=5)
    await run(bench, runner, job_id)
    job = await bench.job(job_id)
    assert (job.status, job.attempts) == ("FAILED", 1)
    assert len(await bench.marks("exhausted")) == 1


async def test_an_attempt_has_a_time_limit(bench: Bench, runner: JobRunner) -> None:
    job_id = await bench.enqueue("demo.endless", max_attempts=1)
    await run(bench, runner, job_id)
    job = await bench.job(job_id)
    assert job.status == "FAILED"
    assert job.error == "TimeLimitExceeded: the attempt took longer than 0.5 s"


async def test_a_handler_must_finish_in_its_transaction(bench: Bench, runner: JobRunner) -> None:
    job_id = await bench.enqueue("demo.forgetful", max_attempts=1)
    await run(bench, runner, job_id)
    job = await bench.job(job_id)
    assert job.status == "FAILED"
    assert job.error.startswith("NotFinished: the handler of demo.forgetful")


async def test_the_lease_of_a_living_worker_is_kept(bench: Bench) -> None:
    now = bench.resources.now()
    runner = JobRunner(replace(bench.resources, now=lambda: now))
    job_id = await bench.enqueue("demo.wait")
    running = asyncio.create_task(run(bench, runner, job_id))
    await bench.until_marked("started")

    async def kept() -> bool:
        until: object = (await bench.job(job_id)).leased_until
        return until == now + timedelta(seconds=LEASE_SECONDS)

    for _ in range(4):  # longer in all than the lease
        now += timedelta(seconds=LEASE_SECONDS / 2)
        await eventually(kept)
        await run(bench, runner, job_id)
    await bench.let_go()
    await running
    assert len(await bench.marks("started")) == 1
    assert (await bench.job(job_id)).status == "SUCCEEDED"


async def test_a_worker_that_lost_its_job_stops_working_on_it(
    bench: Bench, runner: JobRunner, logged: list[structlog.typing.EventDict]
) -> None:
    job_id = await bench.enqueue("demo.wait")  # for ever: nobody lets it go
    running = asyncio.create_task(run(bench, runner, job_id))
    await bench.until_marked("started")
    await bench.change("UPDATE jobs SET attempts = attempts + 1")  # somebody else has it
    await asyncio.wait_for(running, 30)
    assert "jobs.lease_lost" in [line["event"] for line in logged]
    job = await bench.job(job_id)
    assert (job.status, job.attempts) == ("RUNNING", 2)


async def test_draining_hands_back_what_does_not_end_in_time(
    bench: Bench, runner: JobRunner
) -> None:
    long = await bench.enqueue("demo.steady", max_attempts=1)  # nobody lets it go
    short = await bench.enqueue("demo.sleep", seconds=0.2)
    running = [asyncio.create_task(run(bench, runner, job_id)) for job_id in (long, short)]
    await bench.until_marked("started", 2)
    await runner.drain(grace_seconds=4)
    await asyncio.gather(*running)
    assert (await bench.job(short)).status == "SUCCEEDED"
    job = await bench.job(long)
    assert (job.status, job.attempts, job.max_attempts) == ("QUEUED", 1, 2)
    assert job.available_at <= bench.resources.now()
    assert len(await bench.rows("SELECT 1 FROM outbox WHERE job_id = :id", id=long)) == 2


async def test_a_burial_that_fails_is_tried_again(bench: Bench, runner: JobRunner) -> None:
    refusals = 2

    async def refuse_at_first(session: AsyncSession, failed: FailedJob) -> tuple[str, ...]:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise RuntimeError("the ledger is locked")
        await JOBS["demo.poison"].on_exhausted(session, failed)  # type: ignore[misc]
        return ()

    definition = replace(JOBS["demo.poison"], on_exhausted=refuse_at_first)
    job_id = await bench.enqueue("demo.poison", max_attempts=1)
    for expected in ("QUEUED", "QUEUED", "FAILED"):
        await bench.change("UPDATE jobs SET available_at = now()")
        await runner.run(definition, job_id)
        assert (await bench.job(job_id)).status == expected
    # Only the settling was tried again, not the work.
    assert len(await bench.marks("started")) == 1
    assert len(await bench.marks("exhausted")) == 1


async def test_a_claim_waits_for_the_database(
    bench: Bench, runner: JobRunner, logged: list[structlog.typing.EventDict]
) -> None:
    job_id = await bench.enqueue("demo.store")
    await bench.change("ALTER TABLE jobs RENAME TO jobs_away")
    running = asyncio.create_task(runner.run(JOBS["demo.store"], job_id))

    async def refused() -> bool:
        return any(line["event"] == "jobs.claim_failed" for line in logged)

    await eventually(refused)
    await bench.change("ALTER TABLE jobs_away RENAME TO jobs")
    await running
    assert (await bench.job(job_id)).status == "SUCCEEDED"


async def test_an_error_after_the_commit_changes_nothing(
    bench: Bench, runner: JobRunner, logged: list[structlog.typing.EventDict]
) -> None:
    async def store_then_fail(context: JobContext, args: JobArgs) -> None:
        await store(context)
        raise OSError("no news today")

    definition = replace(JOBS["demo.store"], handler=store_then_fail)
    job_id = await bench.enqueue("demo.store")
    await runner.run(definition, job_id)
    assert (await bench.job(job_id)).status == "SUCCEEDED"
    assert [line["event"] for line in logged] == ["jobs.attempt_failed", "jobs.lease_lost"]
