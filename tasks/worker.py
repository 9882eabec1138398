"""The worker's supervisor: keeps its processes up, one by one.

Not dramatiq's own master: when one of its processes dies it ends all the others (and their jobs)
and itself, it redirects their output through pipes, and its module says not to depend on it. The
processes here use dramatiq's public `Worker`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from tasks.lifetime import StopSignal

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
"""A process that was up for so long starts anew without delay."""

STOP_SECONDS = 9.0
"""More than a process takes to drain (`tasks.worker_process`), less than the 10 s of Docker."""


@dataclass
class Slot:
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    starts_at: float = 0.0
    pause_seconds: float = 0.0


def run_worker(entry: str, *, processes: int, threads: int) -> None:
    """Blocks until SIGTERM or SIGINT, then until every process has ended.

    `entry` names a callable, `module:function`, that returns a JobSetup; each process calls it.
    `threads`: how many jobs a process carries out at a time. To be called in the main thread.
    """
    stop = StopSignal(signal.SIGTERM, signal.SIGINT)
    slots = [Slot() for _ in range(processes)]
    while not stop.came:
        for slot in slots:
            _look_after(slot, entry, threads)
        stop.pause()
    _end([slot.process for slot in slots if slot.process is not None])


def _look_after(slot: Slot, entry: str, threads: int) -> None:
    now = time.monotonic()
    if slot.process is not None and (code := slot.process.poll()) is not None:
        slot.process = None
        if now - slot.started_at > HEALTHY_SECONDS:
            slot.pause_seconds = 0.0
        slot.pause_seconds = min(
            max(slot.pause_seconds * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS
        )
        slot.starts_at = now + slot.pause_seconds
        log.error("worker.process_died", code=code, restart_seconds=slot.pause_seconds)
    if slot.process is None and now >= slot.starts_at:
        slot.process = _start(entry, threads)
        slot.started_at = now


def _start(entry: str, threads: int) -> "subprocess.Popen[bytes]":
    command = [
        *(sys.executable, "-m", "tasks.worker_process", entry),
        *(str(threads), str(os.getpid())),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        # No more messages than it works on: those fetched ahead would wait behind a long job
        # while another process is idle.
        "dramatiq_queue_prefetch": str(threads),
    }
    return subprocess.Popen(command, env=environment)  # noqa: S603 - our own program


def _end(running: Sequence["subprocess.Popen[bytes]"]) -> None:
    log.info("worker.stopping")
    for process in running:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in running:
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            log.warning("worker.process_killed", pid=process.pid)
            process.kill()
            process.wait()
    log.info("worker.stopped")
