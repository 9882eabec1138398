"""The scheduler process: whichever leads runs the recurring work and the outbox relay."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC

import dramatiq
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from db.session import is_outage
from tasks.broker import make_broker
from tasks.failures import error_text
from tasks.leadership import lead
from tasks.recurring import RECURRING, Recurring
from tasks.relay import Relay
from tasks.resources import JobSetup, Resources

log = structlog.get_logger(__name__)

STOP_SECONDS = 5.0


async def run_scheduler(setup: JobSetup) -> None:
    """Until SIGTERM or SIGINT. Any number may run, one acts."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broker = make_broker(setup.broker_url)
    async with setup.open_resources() as resources:
        leading = asyncio.create_task(
            lead(resources.database, lambda: act(resources, broker, setup.queue_name))
        )
        log.info("scheduler.started")
        await stop.wait()
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
    broker.close()
    log.info("scheduler.stopped")


async def act(resources: Resources, broker: dramatiq.Broker, queue_name: str) -> None:
    """What the leader does, until it is cancelled."""
    async with recurring_work(resources, RECURRING):
        await Relay(resources, broker, queue_name).run()


@asynccontextmanager
async def recurring_work(
    resources: Resources, recurring: Sequence[Recurring]
) -> AsyncIterator[None]:
    """At the end nothing of it is running any more: its transactions are over."""
    running: set[asyncio.Task[None]] = set()
    scheduler = AsyncIOScheduler(timezone=UTC)

    async def run(item: Recurring) -> None:
        # In a task of our own: APScheduler only cancels its own ones, without waiting for them.
        task = asyncio.create_task(_run_once(item, resources))
        running.add(task)
        task.add_done_callback(running.discard)
        with suppress(asyncio.CancelledError):  # APScheduler would log it as a failure
            await asyncio.wait({task})

    for item in recurring:
        scheduler.add_job(
            run,
            item.trigger,
            args=(item,),
            id=item.name,
            next_run_time=resources.now(),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,  # late is better than not at all
        )
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=STOP_SECONDS)


async def _run_once(item: Recurring, resources: Resources) -> None:
    try:
        async with asyncio.timeout(item.time_limit_seconds):
            await item.work(resources)
    except Exception as error:
        if not is_outage(error):
            log.exception("recurring.failed", name=item.name)
        else:
            log.warning("recurring.failed", name=item.name, error=error_text(error))
