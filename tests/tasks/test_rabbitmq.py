"""The same jobs over RabbitMQ, where there is one (TEST_AMQP_URL)."""

import asyncio
import os
import signal
from uuid import UUID

import dramatiq
import pytest

from tasks.broker import make_broker, send
from tests.tasks.bench import Bench

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("TEST_AMQP_URL" not in os.environ, reason="needs TEST_AMQP_URL"),
]


@pytest.fixture
async def rabbit_bench(bench: Bench) -> Bench:
    bench.variables["DEMO_BROKER_URL"] = os.environ["TEST_AMQP_URL"]
    return bench


def send_all(queue_name: str, ids: list[UUID]) -> None:
    """Connects and closes in one thread, as pika demands."""
    broker: dramatiq.Broker = make_broker(os.environ["TEST_AMQP_URL"])
    for job_id in ids:
        send(broker, queue_name, "demo.store", job_id)
    broker.close()


async def test_jobs_run_once(rabbit_bench: Bench) -> None:
    bench = rabbit_bench
    bench.start_scheduler()
    worker = bench.start_worker()
    ids = [await bench.enqueue("demo.store") for _ in range(50)]
    await asyncio.to_thread(send_all, bench.queue_name, ids)
    await bench.until_all_done()
    await asyncio.sleep(1)
    assert len(await bench.marks("started")) == 50
    assert await bench.end(worker) == 0


async def test_a_killed_worker_s_job_is_finished_by_another(rabbit_bench: Bench) -> None:
    bench = rabbit_bench
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


async def test_a_released_job_comes_back(rabbit_bench: Bench) -> None:
    bench = rabbit_bench
    bench.start_scheduler()
    first = bench.start_supervisor(processes=1)
    await bench.enqueue("demo.steady")  # nobody lets it go
    await bench.until_marked("started")
    assert await bench.end(first) == 0
    bench.start_worker()
    await bench.until_marked("started", 2)
