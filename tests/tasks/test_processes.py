"""Real workers and schedulers, killed, frozen and stopped: every job ends, once."""

import asyncio
import signal
import time
from datetime import timedelta
from functools import partial

import pytest
from dramatiq import Broker
from redis.asyncio import Redis

from db.outbox import enqueue
from db.queries.jobs import failed_jobs
from db.transactions.jobs import requeue_failed_job
from tasks.broker import send
from tests.tasks.bench import Bench, eventually

pytestmark = pytest.mark.slow


async def is_sent_and_done(bench: Bench, count: int) -> bool:
    done = await bench.rows("SELECT count(*) FROM jobs WHERE status = 'SUCCEEDED'")
    return bool(done[0][0] == count)


async def test_jobs_run_once_through_scheduler_and_worker(bench: Bench, broker: Broker) -> None:
    bench.start_scheduler()
    bench.start_worker()
    ids = [await bench.enqueue("demo.store") for _ in range(100)]
    for job_id in ids:  # and every message once more
        await asyncio.to_thread(send, broker, bench.queue_name, "demo.store", job_id)
    await bench.until_all_done()
    for job_id in ids:
        await asyncio.to_thread(send, broker, bench.queue_name, "demo.store", job_id)
    await asyncio.sleep(1)
    assert len(await bench.marks("started")) == 100
    assert len(await bench.marks("outcome")) == 100


async def test_a_killed_worker_s_job_is_finished_by_another(bench: Bench) -> None:
    bench.start_scheduler()
    first = bench.start_worker()
    job_id = await bench.enqueue("demo.sleep", seconds=2)
    await bench.until_marked("started")
    await bench.end(first, signal.SIGKILL)
    bench.start_worker()
    await bench.until_status(job_id, "SUCCEEDED")
    assert [row.attempt for row in await bench.marks("started")] == [1, 2]
    assert [row.attempt for row in await bench.marks("outcome")] == [2]


async def test_a_frozen_worker_s_outcome_is_refused_when_it_thaws(bench: Bench) -> None:
    bench.start_scheduler()
    frozen = bench.start_worker()
    job_id = await bench.enqueue("demo.sleep", seconds=1)
    await bench.until_marked("started")
    frozen.send_signal(signal.SIGSTOP)
    bench.start_worker()
    await bench.until_status(job_id, "SUCCEEDED")
    frozen.send_signal(signal.SIGCONT)
    await asyncio.sleep(2)
    assert frozen.poll() is None
    assert [row.attempt for row in await bench.marks("outcome")] == [2]


async def test_a_job_that_kills_its_workers_ends(bench: Bench) -> None:
    bench.start_scheduler()
    bench.start_supervisor(processes=1)
    job_id = await bench.enqueue("demo.suicide", max_attempts=2)
    await bench.until_status(job_id, "FAILED", 30)
    assert len(await bench.marks("started")) == 2
    (settled,) = await bench.marks("exhausted")
    assert settled.note == "WorkerDied: the worker of attempt 2 died, it was the last one"


async def test_poison_is_settled_once_listed_and_can_be_queued_again(bench: Bench) -> None:
    bench.start_scheduler()
    bench.start_worker()
    job_id = await bench.enqueue("demo.poison", max_attempts=3)
    await bench.until_status(job_id, "FAILED")
    assert len(await bench.marks("started")) == 3
    assert len(await bench.marks("exhausted")) == 1
    async with bench.database.read() as reader:
        (listed,) = await failed_jobs(reader, 10)
    assert (listed.id, listed.error, listed.attempts) == (job_id, "ValueError: poison", 3)
    async with bench.database.transaction() as session:
        assert await requeue_failed_job(session, job_id, bench.resources.now(), attempts=2)
    await bench.until_marked("started", 5)
    await bench.until_status(job_id, "FAILED")


async def test_sigterm_hands_the_job_to_another_worker_at_once(bench: Bench) -> None:
    bench.start_scheduler()
    first = bench.start_supervisor(processes=1)
    job_id = await bench.enqueue("demo.sleep", seconds=30, max_attempts=1)
    await bench.until_marked("started")
    start = time.monotonic()
    assert await bench.end(first) == 0
    assert time.monotonic() - start < 9
    bench.start_worker()
    await bench.until_marked("started", 2)
    job = await bench.job(job_id)
    assert (job.status, job.attempts, job.max_attempts) == ("RUNNING", 2, 2)


async def test_the_supervisor_restarts_one_process_and_leaves_the_other(bench: Bench) -> None:
    bench.start_scheduler()
    supervisor = bench.start_supervisor(processes=2, threads=1)
    await bench.enqueue("demo.sleep", seconds=8, max_attempts=1)
    await bench.until_marked("started")
    await bench.enqueue("demo.suicide", max_attempts=1)
    await bench.until_marked("started", 2)
    after = await bench.enqueue("demo.store")
    await bench.until_status(after, "SUCCEEDED", 15)
    # The long job was on the other process, which went on: still its first attempt.
    await eventually(partial(is_sent_and_done, bench, 2))
    assert [row.attempt for row in await bench.marks("outcome")] == [1, 1]
    assert await bench.end(supervisor) == 0


async def test_a_killed_supervisor_leaves_no_worker_behind(bench: Bench) -> None:
    bench.start_scheduler()
    supervisor = bench.start_supervisor(processes=1)
    await bench.enqueue("demo.store")
    await bench.until_all_done()
    supervisor.kill()
    await asyncio.sleep(3)
    job_id = await bench.enqueue("demo.store")
    await asyncio.sleep(2)
    assert (await bench.job(job_id)).status == "QUEUED"


async def test_messages_that_the_broker_forgot_are_sent_again(
    bench: Bench, redis_address: str
) -> None:
    bench.start_scheduler()
    ids = [await bench.enqueue("demo.store") for _ in range(50)]

    async def all_sent() -> bool:
        return not await bench.rows("SELECT 1 FROM outbox WHERE dispatched_at IS NULL LIMIT 1")

    await eventually(all_sent)
    redis = Redis.from_url(redis_address)
    await redis.flushdb()
    await redis.aclose()
    bench.start_worker()
    await asyncio.sleep(3)
    assert await bench.marks("started") == []
    await bench.pretend_time_passed(60)
    await bench.until_all_done()
    assert len(await bench.marks("outcome")) == len(ids)


async def leaders(bench: Bench) -> list[int]:
    rows = await bench.rows(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return [row.pid for row in rows]


async def test_one_of_two_schedulers_leads_and_the_other_takes_over(bench: Bench) -> None:
    first = bench.start_scheduler()

    async def led() -> bool:
        return len(await leaders(bench)) == 1

    await eventually(led)
    (one,) = await leaders(bench)
    second = bench.start_scheduler()
    await asyncio.sleep(3)
    assert await leaders(bench) == [one]

    await bench.end(first, signal.SIGKILL)
    start = time.monotonic()
    job_id = await bench.enqueue("demo.store")
    await eventually(partial(bench.sent, job_id), 10)
    assert time.monotonic() - start < 5
    (two,) = await leaders(bench)
    assert two != one
    assert await bench.end(second) == 0
    assert await leaders(bench) == []


async def test_a_leader_that_loses_its_connection_stops_and_stands_again(bench: Bench) -> None:
    scheduler = bench.start_scheduler()

    async def led() -> bool:
        return len(await leaders(bench)) == 1

    await eventually(led)
    (pid,) = await leaders(bench)
    await bench.change("SELECT pg_terminate_backend(:pid)", pid=pid)

    async def led_anew() -> bool:
        return len(await leaders(bench)) == 1 and await leaders(bench) != [pid]

    # The terminated connection still holds its lock for a moment.
    await eventually(led_anew, 10)
    job_id = await bench.enqueue("demo.store")
    await eventually(partial(bench.sent, job_id), 10)
    assert scheduler.poll() is None


async def test_a_frozen_leader_is_out_of_office(bench: Bench) -> None:
    first = bench.start_scheduler()

    async def led() -> bool:
        return len(await leaders(bench)) == 1

    await eventually(led)
    bench.start_scheduler()
    first.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    job_id = await bench.enqueue("demo.store")
    await eventually(partial(bench.sent, job_id), 20)
    assert time.monotonic() - start < 15
    first.send_signal(signal.SIGCONT)
    await asyncio.sleep(2)
    assert len(await leaders(bench)) == 1
    assert first.poll() is None


async def test_a_job_for_later_runs_when_it_is_due(bench: Bench) -> None:
    bench.start_scheduler()
    bench.start_worker()
    ready = await bench.enqueue("demo.store")
    await bench.until_status(ready, "SUCCEEDED")
    due = bench.resources.now() + timedelta(seconds=2.5)
    async with bench.database.transaction() as session:
        job_id = await enqueue(session, "demo.store", now=bench.resources.now(), available_at=due)
    await bench.until_status(job_id, "SUCCEEDED")
    (started,) = await bench.marks("started", job_id)
    assert timedelta(0) <= started.at - due < timedelta(seconds=1)
