"""One process of a worker: `python -m tasks.worker_process module:entry threads parent-pid`."""

import importlib
import signal
import sys
from contextlib import AsyncExitStack
from uuid import UUID

import dramatiq
import structlog
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import Middleware, MiddlewareError

from tasks.broker import declare_actors, make_broker
from tasks.jobs import JobDefinition
from tasks.lifetime import StopSignal, die_with
from tasks.resources import JobSetup
from tasks.runner import JobRunner

log = structlog.get_logger(__name__)

IDLE_POLL_MS = 100
"""How late an idle worker sees a message in Redis. dramatiq's default is up to a second."""

GRACE_SECONDS = 4.0
"""What running jobs get to end by themselves; then they are stopped and handed back. All of it
has to fit into the 10 s that Docker gives a container, less for a Ctrl-C in a terminal."""

STOP_MS = 2_000


class Lifespan(Middleware):
    """Opens the resources in the worker's event loop before it takes messages, and closes them."""

    def __init__(self, setup: JobSetup) -> None:
        self._setup = setup
        self._stack = AsyncExitStack()
        self._runner: JobRunner | None = None

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        try:
            _in_loop().run_coroutine(self._open())
        except Exception as error:
            # Any other exception dramatiq would log, and work on without resources.
            raise MiddlewareError("the resources could not be opened") from error

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        _in_loop().run_coroutine(self._stack.aclose())

    async def _open(self) -> None:
        resources = await self._stack.enter_async_context(self._setup.open_resources())
        self._runner = JobRunner(resources)

    async def run(self, definition: JobDefinition, job_id: UUID) -> None:
        assert self._runner is not None  # noqa: S101 - opened before the first message
        await self._runner.run(definition, job_id)

    def drain(self) -> None:
        if self._runner is not None:
            _in_loop().run_coroutine(self._runner.drain(GRACE_SECONDS))


def serve(setup: JobSetup, threads: int, stop: StopSignal) -> None:
    """Carries out jobs until `stop`; ends when they have ended or are handed back."""
    broker = make_broker(setup.broker_url)
    lifespan = Lifespan(setup)
    broker.add_middleware(lifespan)  # after AsyncIO: opened in its loop, closed before it
    declare_actors(broker, setup.queue_name, lifespan.run)
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=IDLE_POLL_MS)
    try:
        worker.start()
        log.info("worker.process_started", threads=threads, queue=setup.queue_name)
        stop.wait()
        for thread in worker.workers:
            thread.pause()  # takes no further message; stop() hands those in memory back
        lifespan.drain()
        worker.stop(timeout=STOP_MS)
        broker.close()
    finally:
        # Its thread keeps the process alive if dramatiq did not get as far as ending it.
        if (loop := get_event_loop_thread()) is not None:
            loop.stop()  # type: ignore[no-untyped-call]


def _in_loop() -> "dramatiq.asyncio.EventLoopThread":
    loop = get_event_loop_thread()
    assert loop is not None  # noqa: S101 - the AsyncIO middleware comes first
    return loop


def main(entry: str, threads: int, parent_pid: int) -> None:
    stop = StopSignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the supervisor says what to do
    die_with(parent_pid, signal.SIGTERM)
    module, _, function = entry.partition(":")
    setup = getattr(importlib.import_module(module), function)()
    serve(setup, threads, stop)
    log.info("worker.process_stopped")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
