"""Job and message: written together, claimed once, never lost."""

import asyncio
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from dramatiq import Broker, Message

from db.outbox import enqueue
from db.queries.jobs import next_message_due
from db.transactions.jobs import claim_job
from db.transactions.outbox import (
    SEND_LEASE,
    claim_messages,
    delete_old_messages,
    mark_dispatched,
    resend_lost_jobs,
)
from tasks.relay import Relay
from tasks.resources import Resources
from tests.tasks.bench import Bench, eventually


class Boom(Exception):
    pass


class CountingBroker:
    """Stands in where what matters is how often each message is sent, or that none can be."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.failing = False
        self.refused = 0

    def enqueue(self, message: Message[None]) -> None:
        if self.failing:
            self.refused += 1
            raise ConnectionError("down")
        self.sent.append(message.args[0])


async def test_job_and_message_commit_together(bench: Bench) -> None:
    job_id = await bench.enqueue("demo.store", answer=42)
    job = await bench.job(job_id)
    assert (job.status, job.actor, job.args, job.attempts) == (
        "QUEUED", "demo.store", {"answer": 42}, 0,
    )  # fmt: skip
    messages = await bench.rows("SELECT * FROM outbox")
    assert [(row.job_id, row.dispatched_at) for row in messages] == [(job_id, None)]


async def test_neither_is_left_when_the_transaction_fails(bench: Bench) -> None:
    async def fail_after_enqueueing() -> None:
        async with bench.database.transaction() as session:
            await enqueue(session, "demo.store", now=bench.resources.now())
            raise Boom

    with pytest.raises(Boom):
        await fail_after_enqueueing()
    assert await bench.rows("SELECT id FROM jobs UNION ALL SELECT job_id FROM outbox") == []


async def test_claimed_messages_are_hidden_until_their_lease_ends(bench: Bench) -> None:
    await bench.enqueue("demo.store")
    now = bench.resources.now()
    async with bench.database.transaction() as session:
        first = await claim_messages(session, now, 10)
    async with bench.database.transaction() as session:
        assert len(first) == 1
        assert await claim_messages(session, now, 10) == []
        assert await claim_messages(session, now + SEND_LEASE, 10) == first
        await mark_dispatched(session, [first[0].id], now)
        assert await claim_messages(session, now + 9 * SEND_LEASE, 10) == []


async def test_a_message_for_later_waits(bench: Bench) -> None:
    later = bench.resources.now() + timedelta(hours=1)
    async with bench.database.transaction() as session:
        job_id = await enqueue(session, "demo.store", now=bench.resources.now(), available_at=later)
    async with bench.database.transaction() as session:
        assert await claim_messages(session, bench.resources.now(), 10) == []
        assert await next_message_due(session) == later
        assert await claim_job(session, job_id, bench.resources.now(), 15) is None
        assert len(await claim_messages(session, later, 10)) == 1
        assert await claim_job(session, job_id, later, 15) is not None


async def test_concurrent_relays_send_each_message_once(bench: Bench) -> None:
    expected = [str(await bench.enqueue("demo.store")) for _ in range(300)]
    broker = CountingBroker()
    relays = [Relay(bench.resources, broker, "q") for _ in range(4)]  # type: ignore[arg-type]
    running = [asyncio.create_task(relay.run()) for relay in relays]

    await bench.until_all_sent()
    await cancel(*running)
    assert sorted(broker.sent) == sorted(expected)


async def cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_relay_survives_a_broker_that_is_down(bench: Bench) -> None:
    broker = CountingBroker()
    broker.failing = True
    relay = asyncio.create_task(Relay(bench.resources, broker, "q").run())  # type: ignore[arg-type]
    expected = {str(await bench.enqueue("demo.store")) for _ in range(3)}

    async def tried() -> bool:
        return broker.refused >= 2

    await eventually(tried)
    broker.failing = False

    async def all_sent() -> bool:
        return set(broker.sent) == expected

    await eventually(all_sent)
    await cancel(relay)
    assert len(broker.sent) == 3


async def test_relay_sends_within_a_moment_of_the_commit(
    bench: Bench, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is sent before that was not found by looking for it: the commit told of it.
    for name in ("POLL_SECONDS", "PING_SECONDS"):
        monkeypatch.setattr(f"tasks.relay.{name}", 3_600.0)
    relay = asyncio.create_task(Relay(bench.resources, broker, bench.queue_name).run())

    async def listens() -> bool:
        return bool(
            await bench.rows(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE 'LISTEN%' AND state = 'idle'"
            )
        )

    await eventually(listens)
    for _ in range(5):
        job_id = await bench.enqueue("demo.store")
        await eventually(partial(bench.sent, job_id), 20)
    await cancel(relay)


async def test_a_forgotten_job_is_sent_again_at_growing_intervals(bench: Bench) -> None:
    job_id = await bench.enqueue("demo.store")
    start = bench.resources.now()
    gaps = []
    now = last = start
    for _ in range(9):
        await bench.change("UPDATE outbox SET dispatched_at = :at", at=now)
        while True:
            now += timedelta(seconds=5)
            async with bench.database.transaction() as session:
                if (await resend_lost_jobs(session, now, 10)).unsent:
                    break
        gaps.append(round((now - last).total_seconds(), -1))
        last = now
    assert gaps == [30, 60, 120, 240, 480, 600, 600, 600, 600]
    assert (await bench.job(job_id)).sends == 10


async def test_a_job_on_its_way_is_not_sent_again(bench: Bench) -> None:
    await bench.enqueue("demo.store")
    late = bench.resources.now() + timedelta(minutes=5)
    async with bench.database.transaction() as session:
        # The relay has not got round to it.
        assert (await resend_lost_jobs(session, late, 10)).unsent == 0
    await bench.change("UPDATE outbox SET dispatched_at = :at", at=late - timedelta(seconds=5))
    async with bench.database.transaction() as session:
        # It was down for minutes, and has sent it just now.
        assert (await resend_lost_jobs(session, late, 10)).unsent == 0
        later = late + timedelta(seconds=26)
        assert (await resend_lost_jobs(session, later, 10)).unsent == 1


async def test_two_sweepers_resend_a_job_once(bench: Bench) -> None:
    await bench.enqueue("demo.store")
    await bench.change("UPDATE outbox SET dispatched_at = available_at")
    late = bench.resources.now() + timedelta(minutes=5)
    async with bench.database.transaction() as one, bench.database.transaction() as two:
        assert (await resend_lost_jobs(one, late, 10)).unsent == 1
        assert (await resend_lost_jobs(two, late, 10)).unsent == 0
    assert len(await bench.rows("SELECT * FROM outbox")) == 2


async def test_sent_messages_are_forgotten_after_an_hour(resources: Resources) -> None:
    now = resources.now()
    ages = [timedelta(minutes=59), timedelta(minutes=61), None]
    async with resources.database.transaction() as session:
        for age in ages:
            await enqueue(session, "demo.store", now=now, tag=str(uuid4()))
            ids = [message.id for message in await claim_messages(session, now, 10)]
            if age is not None:
                await mark_dispatched(session, ids, now - age)
    async with resources.database.transaction() as session:
        assert await delete_old_messages(session, now, 10) == 1
