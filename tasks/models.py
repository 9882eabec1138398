"""Training, outside the request (`train` mutation) and outside the event loop."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from db.events import publish, training_topic
from db.transactions.models import (
    TRAIN_ACTOR,
    fail_training_run,
    finish_training_run,
    start_training_run,
)
from tasks.jobs import FailedJob, GiveUp, JobArgs, JobContext, job

TRAINING_SECONDS = 3_600


async def fail_run(session: AsyncSession, failed: FailedJob) -> Sequence[str]:
    run_id = UUID(failed.args["run_id"])
    await fail_training_run(session, run_id, failed.error, failed.now)
    return (training_topic(run_id),)


@job(TRAIN_ACTOR, on_exhausted=fail_run, time_limit_seconds=TRAINING_SECONDS)
async def train(context: JobContext, args: JobArgs) -> None:
    run_id = UUID(args["run_id"])
    if context.resources.train is None:
        raise GiveUp("this worker has nothing to train with")
    async with context.database.transaction() as session:
        key = await start_training_run(session, run_id, context.now())
        if key is None:
            await context.finish(session)
            return
    await publish(context.redis, training_topic(run_id))
    training = await context.resources.train(key)
    async with context.database.transaction() as session:
        await context.finish(session)
        registered = await finish_training_run(
            session,
            run_id,
            training.artifact,
            better_than=training.better_than,
            good_enough=training.good_enough,
            now=context.now(),
        )
    if registered.promoted and training.publish is not None:
        await asyncio.to_thread(training.publish)
    await publish(context.redis, training_topic(run_id))
