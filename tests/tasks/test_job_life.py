"""Claims, leases, fences, retries: the business operations, without a worker."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from db.outbox import enqueue
from db.queries.jobs import failed_jobs, queue_figures
from db.transactions.jobs import (
    LONGEST_ERROR,
    ClaimedJob,
    LeaseLost,
    bury_job,
    claim_job,
    delete_old_jobs,
    extend_lease,
    finish_job,
    release_job,
    requeue_failed_job,
    retry_delay,
    retry_job,
)
from db.transactions.outbox import resend_lost_jobs
from tests.tasks.bench import Bench
from tests.tasks.demo_jobs import mark

LEASE = 15.0


async def claim(bench: Bench, job_id: UUID, now: datetime) -> ClaimedJob | None:
    async with bench.database.transaction() as session:
        return await claim_job(session, job_id, now, LEASE)


async def taken(bench: Bench, job_id: UUID, now: datetime) -> ClaimedJob:
    claimed = await claim(bench, job_id, now)
    assert claimed is not None
    return claimed


async def test_a_second_delivery_finds_nothing(bench: Bench) -> None:
    job_id = await bench.enqueue("demo.store", answer=42)
    now = bench.resources.now()
    first = await claim(bench, job_id, now)
    assert first == ClaimedJob(job_id, "demo.store", {"answer": 42}, 1, 5, None)
    assert await claim(bench, job_id, now) is None
    async with bench.database.transaction() as session:
        await finish_job(session, job_id, 1, now)
    assert await claim(bench, job_id, now + timedelta(hours=1)) is None


async def test_an_unknown_job_is_nothing(bench: Bench) -> None:
    assert await claim(bench, uuid4(), bench.resources.now()) is None


async def test_the_outcome_of_a_worker_that_lost_its_lease_is_refused(bench: Bench) -> None:
    job_id = await bench.enqueue("demo.store")
    start = bench.resources.now()
    zombie = await taken(bench, job_id, start)
    lapsed = start + timedelta(seconds=LEASE + 1)
    heir = await taken(bench, job_id, lapsed)
    assert (zombie.attempt, heir.attempt) == (1, 2)

    async def store_late() -> None:
        async with bench.database.transaction() as session:
            await mark(session, job_id, "outcome", zombie.attempt)
            await finish_job(session, job_id, zombie.attempt, lapsed)

    with pytest.raises(LeaseLost):
        await store_late()
    async with bench.database.transaction() as session:
        assert not await extend_lease(session, job_id, zombie.attempt, lapsed, LEASE)
        await mark(session, job_id, "outcome", heir.attempt)
        await finish_job(session, job_id, heir.attempt, lapsed)
    assert [row.attempt for row in await bench.marks("outcome")] == [2]


Ending = Callable[[AsyncSession, ClaimedJob, datetime], Awaitable[object]]
ENDINGS: dict[str, Ending] = {
    "finish": lambda session, job, now: finish_job(session, job.id, job.attempt, now),
    "retry": lambda session, job, now: retry_job(session, job, "late", now),
    "bury": lambda session, job, now: bury_job(session, job, "late", now),
    "release": release_job,
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
async def test_whatever_a_zombie_writes_is_refused(bench: Bench, ending: Ending) -> None:
    job_id = await bench.enqueue("demo.store")
    now = bench.resources.now()
    zombie = await taken(bench, job_id, now)
    lapsed = now + timedelta(seconds=LEASE + 1)
    async with bench.database.transaction() as session:
        assert (await resend_lost_jobs(session, lapsed, 10)).abandoned == 1
    before = await bench.job(job_id)

    async def end_late() -> None:
        async with bench.database.transaction() as session:
            await ending(session, zombie, lapsed)

    with pytest.raises(LeaseLost):
        await end_late()
    assert await bench.job(job_id) == before


async def test_a_kept_lease_is_not_taken_over(bench: Bench) -> None:
    job_id = await bench.enqueue("demo.store")
    now = bench.resources.now()
    await taken(bench, job_id, now)
    async with bench.database.transaction() as session:
        assert await extend_lease(session, job_id, 1, now + timedelta(seconds=10), LEASE)
    after_the_first = now + timedelta(seconds=LEASE + 1)
    assert await claim(bench, job_id, after_the_first) is None
    async with bench.database.transaction() as session:
        assert (await resend_lost_jobs(session, after_the_first, 10)).abandoned == 0


async def test_retries_back_off_and_end(bench: Bench) -> None:
    job_id = await bench.enqueue("demo.store", max_attempts=3)
    now = bench.resources.now()
    statuses = []
    for attempt in (1, 2, 3):
        claimed = await taken(bench, job_id, now)
        async with bench.database.transaction() as session:
            statuses.append(await retry_job(session, claimed, f"error {attempt}", now))
        job = await bench.job(job_id)
        assert job.error == f"error {attempt}"
        now = job.available_at
    assert statuses == ["QUEUED", "QUEUED", "FAILED"]
    # The first message and one for each retry, due when the job is.
    messages = await bench.rows("SELECT available_at FROM outbox ORDER BY id")
    assert len(messages) == 3
    assert messages[-1].available_at == now


def test_the_delay_doubles_up_to_a_limit_and_is_spread() -> None:
    for attempt, whole in [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (1_000, 300)]:
        delays = {retry_delay(attempt, 2.0).total_seconds() for _ in range(50)}
        assert all(whole / 2 <= delay < whole for delay in delays)
        assert len(delays) > 10


async def test_attempts_whose_workers_died_count(bench: Bench) -> None:
    job_id = await bench.enqueue("demo.store", max_attempts=2)
    now = bench.resources.now()
    exhausted = []
    for _ in range(3):
        exhausted.append((await taken(bench, job_id, now)).exhausted)
        now += timedelta(seconds=LEASE + 1)
    assert exhausted == [False, False, True]


async def test_a_released_job_is_due_at_once_and_keeps_its_attempts(bench: Bench) -> None:
    job_id = await bench.enqueue("demo.store", max_attempts=1)
    now = bench.resources.now()
    for attempt in (1, 2, 3):
        claimed = await taken(bench, job_id, now)
        assert (claimed.attempt, claimed.exhausted) == (attempt, False)
        async with bench.database.transaction() as session:
            await release_job(session, claimed, now)


async def test_stored_errors_are_bounded(bench: Bench) -> None:
    job_id = await bench.enqueue("demo.store", max_attempts=1)
    claimed = await taken(bench, job_id, bench.resources.now())
    async with bench.database.transaction() as session:
        await retry_job(session, claimed, "x" * 100_000, bench.resources.now())
    assert len((await bench.job(job_id)).error) == LONGEST_ERROR


async def test_failed_jobs_are_listed_in_pages_and_can_be_queued_again(bench: Bench) -> None:
    now = bench.resources.now()
    ids = []
    for number in range(5):
        job_id = await bench.enqueue("demo.store", max_attempts=1, number=number)
        claimed = await taken(bench, job_id, now)
        async with bench.database.transaction() as session:
            # Two end at the same moment: their ids decide.
            await bury_job(session, claimed, "broken", now + timedelta(seconds=number // 2))
        ids.append(job_id)
    async with bench.database.read() as reader:
        pages = [await failed_jobs(reader, 2)]
        while pages[-1]:
            last = pages[-1][-1]
            pages.append(await failed_jobs(reader, 2, (last.finished_at, last.id)))
    listed = [row for page in pages for row in page]
    assert {row.id for row in listed} == set(ids)
    assert len(listed) == 5
    assert [row.finished_at for row in listed] == sorted(
        (row.finished_at for row in listed), reverse=True
    )

    async with bench.database.transaction() as session:
        assert await requeue_failed_job(session, ids[0], now, attempts=2)
        assert not await requeue_failed_job(session, ids[0], now)
        assert not await requeue_failed_job(session, uuid4(), now)
    again = await taken(bench, ids[0], now)
    # The token goes on where it was: an old zombie can't pass for the new attempt.
    assert (again.attempt, again.max_attempts, again.exhausted) == (2, 3, False)


async def test_figures(bench: Bench) -> None:
    now = bench.resources.now()
    async with bench.database.read() as reader:
        assert (await queue_figures(reader, now)).oldest_due_seconds == 0
    running = await bench.enqueue("demo.store")
    await taken(bench, running, now)
    async with bench.database.transaction() as session:
        await enqueue(session, "demo.store", now=now, available_at=now - timedelta(seconds=40))
        await enqueue(session, "demo.store", now=now, available_at=now + timedelta(seconds=40))
    async with bench.database.read() as reader:
        figures = await queue_figures(reader, now)
    assert (figures.queued, figures.running, figures.failed) == (2, 1, 0)
    assert figures.oldest_due_seconds == pytest.approx(40, abs=0.01)
    assert figures.unsent_messages == 3


async def test_succeeded_jobs_are_forgotten_after_a_week_failed_ones_are_kept(
    bench: Bench,
) -> None:
    now = bench.resources.now()
    kept = []
    for days, status in [(6, "SUCCEEDED"), (8, "SUCCEEDED"), (8, "CANCELLED"), (80, "FAILED")]:
        job_id = await bench.enqueue("demo.store")
        finished = now - timedelta(days=days)
        await bench.change(
            "UPDATE jobs SET status = :status, finished_at = :at WHERE id = :id",
            status=status, at=finished, id=job_id,
        )  # fmt: skip
        if days == 6 or status == "FAILED":
            kept.append(job_id)
    async with bench.database.transaction() as session:
        assert await delete_old_jobs(session, now, 1) == 1
        assert await delete_old_jobs(session, now, 10) == 1
    assert {row.id for row in await bench.rows("SELECT id FROM jobs")} == set(kept)
    assert len(await bench.rows("SELECT * FROM outbox")) == 2
