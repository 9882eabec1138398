"""The job `models.train`, with a training that is over at once."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest

from db.models.models import ModelTask
from db.queries.models import RunRow, training_run
from db.transactions.models import (
    ModelDefinition,
    TrainedArtifact,
    ensure_model,
    request_training,
)
from tasks.jobs import JOBS
from tasks.resources import Training
from tasks.runner import JobRunner
from tests.tasks.bench import Bench

METRICS = dict.fromkeys(("accuracy", "precision", "recall", "f1_score"), 0.9)
ARTIFACT = TrainedArtifact("logistic", "0" * 64, "toy.joblib", 10, METRICS, {})


async def good(key: str) -> Training:
    assert key == "toy"
    return Training(ARTIFACT, better_than=None, good_enough=True)


async def broken(key: str) -> Training:
    raise ValueError(f"no rows for {key}")


@pytest.fixture
def run_training(bench: Bench) -> Callable[..., Awaitable[RunRow]]:
    async def run(train: Callable[[str], Awaitable[Training]] | None) -> RunRow:
        now = bench.resources.now()
        async with bench.database.transaction() as session:
            toy = ModelDefinition("toy", "Toy", "A toy", ModelTask.CLASSIFICATION, [])
            await ensure_model(session, toy, now)
            run_id: UUID = await request_training(session, "toy", promote=True, now=now)
        (job,) = await bench.rows("SELECT * FROM jobs WHERE actor = 'models.train'")
        runner = JobRunner(replace(bench.resources, train=train))
        while (await bench.job(job.id)).status == "QUEUED":
            await bench.change("UPDATE jobs SET available_at = now()")
            await runner.run(JOBS[job.actor], job.id)
        async with bench.database.read() as reader:
            row = await training_run(reader, run_id)
        assert row is not None
        return row

    return run


async def test_a_training_ends_as_a_promoted_version(
    run_training: Callable[..., Awaitable[RunRow]],
) -> None:
    row = await run_training(good)
    assert (row.status, row.promoted, row.error) == ("SUCCEEDED", True, None)
    assert row.version_id is not None


async def test_a_training_that_always_fails_ends_as_failed(
    run_training: Callable[..., Awaitable[RunRow]],
) -> None:
    row = await run_training(broken)
    assert (row.status, row.error) == ("FAILED", "ValueError: no rows for toy")


async def test_a_worker_without_a_trainer_says_so(
    run_training: Callable[..., Awaitable[RunRow]],
) -> None:
    row = await run_training(None)
    assert (row.status, row.error) == ("FAILED", "GiveUp: this worker has nothing to train with")
