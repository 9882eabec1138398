"""Rounds of promo notices: planned once, a job a promo, batches of people. "Push" is simulated."""

import structlog

from db.events import publish_notifications
from db.queries.notification_rounds import people_to_tell, round_plan
from db.transactions.notices import (
    NOTIFY_ACTIVE_PROMOS_ACTOR,
    SEND_PUSH_BATCH_ACTOR,
    enqueue_batches,
    enqueue_promos,
    insert_batch,
    request_round,
)
from db.transactions.notifications import NOTIFY_PROMO_ACTOR
from tasks.jobs import JobArgs, JobContext, job
from tasks.resources import Resources

log = structlog.get_logger(__name__)


async def request_notification_round(resources: Resources) -> None:
    async with resources.database.transaction() as session:
        if not await request_round(session, resources.now()):
            log.debug("notifications.round_still_on")


@job(NOTIFY_ACTIVE_PROMOS_ACTOR)
async def notify_active_promos(context: JobContext, args: JobArgs) -> None:
    # Planned outside of the transaction, whose lock on the job would keep the lease from renewal.
    async with context.database.read() as reader:
        plan = await round_plan(reader, context.now())
    async with context.database.transaction() as session:
        await context.finish(session)
        await enqueue_promos(session, plan, context.now())


@job(NOTIFY_PROMO_ACTOR)
async def notify_promo(context: JobContext, args: JobArgs) -> None:
    """{"promo_id"}, and from a round {"user_ids"}: whom its plan gives to this promo.

    They are not looked at again here: each batch does, at the moment it inserts.
    """
    promo_id = args["promo_id"]
    users = args.get("user_ids")
    if users is None:
        async with context.database.read() as reader:
            users = list(map(str, await people_to_tell(reader, promo_id, context.now())))
    async with context.database.transaction() as session:
        await context.finish(session)
        await enqueue_batches(session, promo_id, users, context.now())


@job(SEND_PUSH_BATCH_ACTOR)
async def send_push_batch(context: JobContext, args: JobArgs) -> None:
    """Inserts first, then sends what was inserted: a second delivery has nothing to insert."""
    promo_id = args["promo_id"]
    async with context.database.transaction() as session:
        await context.finish(session)
        written = await insert_batch(session, promo_id, args["user_ids"], context.now())
    log.debug("notifications.pushed", promo_id=promo_id, people=len(written))
    await publish_notifications(context.redis, written)
