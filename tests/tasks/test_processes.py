"""Real workers and schedulers, killed, frozen and stopped: every job ends, once."""

import asyncio
import os
import signal
from datetime import timedelta
from functools import partial

import pytest
from dramatiq import Broker

from db.outbox import enqueue
from db.queries.jobs import failed_jobs
from db.transactions.jobs import requeue_failed_job
from tasks.broker import send
from tests.tasks.bench import Bench, alive, children, eventually

pytestmark = pytest.mark.slow


async def test_jobs_run_once_through_scheduler_and_worker(bench: Bench, broker: Broker) -> None:
    bench.start_scheduler()
    bench.start_worker()
    ids = [await bench.enqueue("demo.store") for _ in range(100)]
    for job_id in ids:  # and every message once more
        await asyncio.to_thread(send, broker, bench.queue_name, "demo.store", job_id)
    await bench.until_all_done()
    for job_id in ids:
        await asyncio.to_thread(send, broker, bench.queue_name, "demo.store", job_id)
    await bench.until_all_consumed()
    assert len(await bench.marks("started")) == 100
    assert len(await bench.marks("outcome")) == 100


async def test_a_killed_worker_s_job_is_finished_by_another(bench: Bench) -> None:
    bench.start_scheduler()
    first = bench.start_worker()
    job_id = await bench.enqueue("demo.wait")
    await bench.until_marked("started")
    await bench.end(first, signal.SIGKILL)
    await bench.let_go()
    bench.start_worker()
    await bench.until_status(job_id, "SUCCEEDED")
    (outcome,) = await bench.marks("outcome")
    assert outcome.attempt > 1


async def test_a_frozen_worker_s_outcome_is_refused_when_it_thaws(bench: Bench) -> None:
    bench.start_scheduler()
    frozen = bench.start_worker()
    job_id = await bench.enqueue("demo.wait")
    await bench.until_marked("started")
    frozen.send_signal(signal.SIGSTOP)
    await bench.let_go()
    bench.start_worker()
    await bench.until_status(job_id, "SUCCEEDED")
    await bench.thaw(frozen)
    assert await bench.end(frozen) == 0  # it first ends what it has in hand
    (outcome,) = await bench.marks("outcome")
    assert outcome.attempt > 1


async def test_a_job_that_kills_its_workers_ends(bench: Bench) -> None:
    bench.start_scheduler()
    bench.start_supervisor(processes=1)
    job_id = await bench.enqueue("demo.suicide", max_attempts=2)
    await bench.until_status(job_id, "FAILED")
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
    job_id = await bench.enqueue("demo.steady", max_attempts=1)  # nobody lets it go
    await bench.until_marked("started")
    assert await bench.end(first) == 0
    assert (await bench.job(job_id)).status == "QUEUED"  # handed back, long before its lease ends
    bench.start_worker()
    await bench.until_marked("started", 2)
    job = await bench.job(job_id)
    assert (job.status, job.attempts, job.max_attempts) == ("RUNNING", 2, 2)


async def test_the_supervisor_restarts_one_process_and_leaves_the_other(bench: Bench) -> None:
    bench.start_scheduler()
    supervisor = bench.start_supervisor(processes=2, threads=1)
    long = await bench.enqueue("demo.steady", max_attempts=1)
    await bench.until_marked("started")
    await bench.enqueue("demo.suicide", max_attempts=1)
    await bench.until_marked("started", 2)
    # One process is busy until it is let go, so the restarted one does this.
    after = await bench.enqueue("demo.store")
    await bench.until_status(after, "SUCCEEDED")
    await bench.let_go()
    await bench.until_status(long, "SUCCEEDED")
    # The long job was on the other process, which went on: still its first attempt.
    assert [row.attempt for row in await bench.marks("outcome")] == [1, 1]
    assert await bench.end(supervisor) == 0


async def test_a_killed_supervisor_leaves_no_worker_behind(bench: Bench) -> None:
    bench.start_scheduler()
    supervisor = bench.start_supervisor(processes=1)
    await bench.enqueue("demo.store")
    await bench.until_all_done()
    workers = children(supervisor.pid)
    assert workers
    supervisor.kill()

    async def gone() -> bool:
        return not any(map(alive, workers))

    try:
        await eventually(gone)
    finally:
        for worker in filter(alive, workers):
            os.kill(worker, signal.SIGKILL)


async def test_messages_that_the_broker_forgot_are_sent_again(bench: Bench) -> None:
    bench.start_scheduler()
    ids = [await bench.enqueue("demo.store") for _ in range(50)]
    await bench.until_all_sent()
    assert await bench.messages() > 0
    await bench.resources.redis.flushdb()
    bench.start_worker()
    await bench.pretend_time_passed(60)
    await bench.until_all_done()
    assert len(await bench.marks("outcome")) == len(ids)


async def test_one_of_two_schedulers_leads_and_the_other_takes_over(bench: Bench) -> None:
    first = bench.start_scheduler()
    one = await bench.until_led()
    second = bench.start_scheduler()
    await bench.until_another_campaigns()
    await asyncio.sleep(2)
    assert await bench.leaders() == [one]

    await bench.end(first, signal.SIGKILL)
    job_id = await bench.enqueue("demo.store")
    await eventually(partial(bench.sent, job_id))
    (two,) = await bench.leaders()
    assert two != one
    assert await bench.end(second) == 0

    async def nobody_leads() -> bool:
        return await bench.leaders() == []

    # PostgreSQL notices a moment later that the connection was closed.
    await eventually(nobody_leads)


async def test_a_leader_that_loses_its_connection_stops_and_stands_again(bench: Bench) -> None:
    scheduler = bench.start_scheduler()
    pid = await bench.until_led()
    await bench.change("SELECT pg_terminate_backend(:pid)", pid=pid)
    # The terminated connection still holds its lock for a moment.
    await bench.until_led(otherwise_than_by=pid)
    job_id = await bench.enqueue("demo.store")
    await eventually(partial(bench.sent, job_id))
    assert scheduler.poll() is None


async def test_a_frozen_leader_is_out_of_office(bench: Bench) -> None:
    first = bench.start_scheduler()
    one = await bench.until_led()
    bench.start_scheduler()
    await bench.until_another_campaigns()
    first.send_signal(signal.SIGSTOP)
    # By itself its session would live on for hours.
    two = await bench.until_led(otherwise_than_by=one)
    job_id = await bench.enqueue("demo.store")
    await eventually(partial(bench.sent, job_id))
    first.send_signal(signal.SIGCONT)
    await bench.until_another_campaigns()  # it has noticed, and stands again
    assert await bench.leaders() == [two]
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
    # Had its time been missed, it would have been sent again after 30 s.
    assert timedelta(0) <= started.at - due < timedelta(seconds=20)
