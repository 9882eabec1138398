"""The life of promos: they go live and end by the clock, within two seconds of their instant."""

import structlog

from db.events import promo_topic, publish_all
from db.transactions.promos import activate_due, end_over
from tasks.jobs import JobArgs, JobContext, job
from tasks.resources import Resources

log = structlog.get_logger(__name__)

ACTIVATE_AND_NOTIFY_PROMOS_ACTOR = "activate_and_notify_promos"


async def activate_and_end_promos(resources: Resources) -> None:
    """What is due, in small transactions; run twice, the second run finds nothing.

    What is over ends first: an offer that nobody can take must not hold up one that begins.
    """
    while await _end_some(resources):
        pass
    while await _activate_some(resources):
        pass


async def _end_some(resources: Resources) -> int:
    async with resources.database.transaction() as session:
        ended = await end_over(session, resources.now())
    if ended.promo_ids:
        await publish_all(resources.redis, ended.topics)
        log.info("promos.ended", promos=len(ended.promo_ids))
    return len(ended.promo_ids)


async def _activate_some(resources: Resources) -> int:
    async with resources.database.transaction() as session:
        promo_ids = await activate_due(session, resources.now())
    if promo_ids:
        await publish_all(resources.redis, map(promo_topic, promo_ids))
        log.info("promos.activated", promos=len(promo_ids))
    return len(promo_ids)


@job(ACTIVATE_AND_NOTIFY_PROMOS_ACTOR)
async def activate_and_notify_promos(context: JobContext, args: JobArgs) -> None:
    """The same by hand, for operators. The notices are jobs that activation orders."""
    await activate_and_end_promos(context.resources)
    async with context.database.transaction() as session:
        await context.finish(session)
