"""What is done again and again, by the leading scheduler: one line each in RECURRING."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from db.transactions.idempotency import delete_old_keys
from db.transactions.jobs import delete_old_jobs
from db.transactions.outbox import delete_old_messages, resend_lost_jobs
from tasks.holds import serve_waiting, sweep_holds
from tasks.notifications import request_notification_round
from tasks.promos import activate_and_end_promos
from tasks.resources import Resources

log = structlog.get_logger(__name__)

RESEND_BATCH = 500
RETENTION_BATCH = 1_000


@dataclass(frozen=True)
class Recurring:
    """Runs once at the start, then by its trigger; a run that is still on is not doubled."""

    name: str
    trigger: BaseTrigger
    work: Callable[[Resources], Awaitable[None]]
    time_limit_seconds: float = 60.0


async def resend_lost(resources: Resources) -> None:
    async with resources.database.transaction() as session:
        lost = await resend_lost_jobs(session, resources.now(), RESEND_BATCH)
    if lost.unsent or lost.abandoned:
        log.warning("jobs.resent", unsent=lost.unsent, abandoned=lost.abandoned)


async def forget_finished(resources: Resources) -> None:
    """In small transactions: one large DELETE would hold its locks for minutes."""
    for delete in (delete_old_messages, delete_old_jobs, delete_old_keys):
        deleted = RETENTION_BATCH
        while deleted == RETENTION_BATCH:
            async with resources.database.transaction() as session:
                deleted = await delete(session, resources.now(), RETENTION_BATCH)


RECURRING = (
    Recurring("jobs.resend_lost", IntervalTrigger(seconds=2), resend_lost),
    Recurring("promos.activate_and_end", IntervalTrigger(seconds=1), activate_and_end_promos),
    Recurring("holds.sweep", IntervalTrigger(seconds=1), sweep_holds),
    Recurring("waitlists.serve", IntervalTrigger(seconds=1), serve_waiting),
    Recurring("notifications.round", IntervalTrigger(seconds=60), request_notification_round),
    Recurring("jobs.forget_finished", IntervalTrigger(hours=1), forget_finished, 600),
)
