"""Carries out jobs in the event loop of a worker process: claim, keep the lease, settle."""

import asyncio
from contextlib import suppress
from uuid import UUID

import structlog

from db.events import publish
from db.models.jobs import JobStatus
from db.session import is_outage
from db.transactions.jobs import (
    ClaimedJob,
    LeaseLost,
    bury_job,
    claim_job,
    extend_lease,
    postpone_burial,
    release_job,
    retry_job,
)
from tasks.failures import error_text
from tasks.jobs import FailedJob, GiveUp, JobArgs, JobContext, JobDefinition
from tasks.resources import Resources

log = structlog.get_logger(__name__)

CLAIM_PATIENCE_SECONDS = 60.0
"""How long a claim waits for a database that is down, before the sweeper has to send it again."""

RELEASE_SECONDS = 2.0


class TimeLimitExceeded(Exception):
    """The attempt is stopped and counts as failed."""


class NotFinished(Exception):
    """An outcome stored without `finish` is not fenced: a mistake in the handler."""


class JobRunner:
    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._attempts: set[asyncio.Task[None]] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run(self, definition: JobDefinition, job_id: UUID) -> None:
        """What a delivered message asks for. Never raises: dramatiq has no say in what follows."""
        attempt = asyncio.create_task(self._run(definition, job_id))
        self._attempts.add(attempt)
        try:
            await attempt
        finally:
            self._attempts.discard(attempt)

    async def drain(self, grace_seconds: float) -> None:
        """Lets running jobs end for a while, then stops them and hands them back."""
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=grace_seconds)
        self._stopping = True
        for handler in self._handlers:
            handler.cancel()
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=RELEASE_SECONDS)

    async def _run(self, definition: JobDefinition, job_id: UUID) -> None:
        with structlog.contextvars.bound_contextvars(job=definition.name, job_id=str(job_id)):
            try:
                claimed = await self._claim(definition, job_id)
                if claimed is None:
                    log.debug("jobs.nothing_to_do")
                elif claimed.exhausted:
                    await self._give_up(definition, claimed, _deaths(claimed))
                else:
                    await self._attempt(definition, claimed)
            except LeaseLost:
                log.warning("jobs.lease_lost")
            except Exception as error:
                # The row is as it was: its lease lapses, and the sweeper sends the job again.
                if not is_outage(error):
                    log.exception("jobs.not_settled")
                else:
                    log.warning("jobs.not_settled", error=error_text(error))

    async def _claim(self, definition: JobDefinition, job_id: UUID) -> ClaimedJob | None:
        async with asyncio.timeout(CLAIM_PATIENCE_SECONDS):
            pause = 0.2
            while True:
                try:
                    async with self._resources.database.transaction() as session:
                        return await claim_job(
                            session, job_id, self._resources.now(), definition.lease_seconds
                        )
                except Exception as error:  # noqa: BLE001 - whatever it is, the job is not ours yet
                    log.warning("jobs.claim_failed", error=error_text(error))
                if self._stopping:
                    return None
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _attempt(self, definition: JobDefinition, claimed: ClaimedJob) -> None:
        context = JobContext(self._resources, claimed.id, claimed.attempt)
        handler = asyncio.create_task(_handle(definition, context, claimed.args))
        keeper = asyncio.create_task(self._keep_lease(definition, context, handler))
        self._handlers.add(handler)
        if self._stopping:
            handler.cancel()
        try:
            await asyncio.wait({handler})
        finally:
            self._handlers.discard(handler)
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
        await self._settle(definition, claimed, handler)

    async def _settle(
        self, definition: JobDefinition, claimed: ClaimedJob, handler: asyncio.Task[None]
    ) -> None:
        if handler.cancelled():
            if not self._stopping:
                raise LeaseLost(claimed.id, claimed.attempt)  # the keeper stopped it
            async with self._resources.database.transaction() as session:
                await release_job(session, claimed, self._resources.now())
            log.info("jobs.released", attempt=claimed.attempt)
            return
        error = handler.exception()
        if error is None:
            log.info("jobs.done", attempt=claimed.attempt)
            return
        if isinstance(error, LeaseLost):
            raise error
        # Before anything that may fail itself: what went wrong is known here only.
        log.warning("jobs.attempt_failed", attempt=claimed.attempt, exc_info=error)
        if isinstance(error, GiveUp) or claimed.attempt >= claimed.max_attempts:
            await self._give_up(definition, claimed, error_text(error))
        else:
            await self._retry(definition, claimed, error)

    async def _retry(
        self, definition: JobDefinition, claimed: ClaimedJob, error: BaseException
    ) -> None:
        async with self._resources.database.transaction() as session:
            status = await retry_job(
                session,
                claimed,
                error_text(error),
                self._resources.now(),
                definition.first_retry_seconds,
            )
        assert status is JobStatus.QUEUED  # noqa: S101 - the last attempt goes to _give_up

    async def _give_up(self, definition: JobDefinition, claimed: ClaimedJob, text: str) -> None:
        try:
            topics = await self._bury(definition, claimed, text)
        except LeaseLost:
            raise
        except Exception:
            # Settling failed with it. Money may hang on it, so the job does not end this way.
            log.exception("jobs.burial_failed", attempt=claimed.attempt)
            async with self._resources.database.transaction() as session:
                await postpone_burial(session, claimed, text, self._resources.now())
            return
        log.error("jobs.failed", attempt=claimed.attempt, error=text)
        for topic in topics:
            await publish(self._resources.redis, topic)

    async def _bury(
        self, definition: JobDefinition, claimed: ClaimedJob, text: str
    ) -> tuple[str, ...]:
        now = self._resources.now()
        async with self._resources.database.transaction() as session:
            await bury_job(session, claimed, text, now)
            if definition.on_exhausted is None:
                return ()
            failed = FailedJob(claimed.id, claimed.args, text, now)
            return tuple(await definition.on_exhausted(session, failed))

    async def _keep_lease(
        self, definition: JobDefinition, context: JobContext, handler: asyncio.Task[None]
    ) -> None:
        while True:
            await asyncio.sleep(definition.lease_seconds / 3)
            try:
                async with self._resources.database.transaction() as session:
                    kept = await extend_lease(
                        session,
                        context.job_id,
                        context.attempt,
                        context.now(),
                        definition.lease_seconds,
                    )
            except Exception as error:  # noqa: BLE001 - the next beat may get through
                log.warning("jobs.heartbeat_failed", error=error_text(error))
                continue
            if not kept:
                # Not kept also if this attempt has just finished: what follows the commit (a
                # publish) must not be cut off then.
                if not context.finished:
                    handler.cancel()
                return


async def _handle(definition: JobDefinition, context: JobContext, args: JobArgs) -> None:
    try:
        async with asyncio.timeout(definition.time_limit_seconds) as limit:
            await definition.handler(context, args)
    except TimeoutError as error:
        if limit.expired():
            text = f"the attempt took longer than {definition.time_limit_seconds:g} s"
            raise TimeLimitExceeded(text) from error
        raise
    if not context.finished:
        raise NotFinished(f"the handler of {definition.name} returned without context.finish()")


def _deaths(claimed: ClaimedJob) -> str:
    text = f"WorkerDied: the worker of attempt {claimed.max_attempts} died, it was the last one"
    return f"{text}. Before that: {claimed.last_error}" if claimed.last_error else text
