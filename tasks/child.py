"""CPU-bound work in a process of its own.

In a thread it would hold the interpreter's lock for long stretches (the heartbeats of every job of
this worker come late), and a thread can't be stopped: on shutdown, lost lease or time limit a
process is simply killed. A process a call, spawned: a fork of a process with threads and open
connections inherits their locks, and what a training leaves in memory goes with it.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from tasks.failures import error_text
from tasks.lifetime import die_with

T = TypeVar("T")

NICENESS = 5
"""The children give way to what answers requests on the same machine."""


class ChildFailed(Exception):
    """The function raised in the child (its type and message), or the child died."""


async def run_in_child(function: Callable[..., T], *args: Any) -> T:
    """`function(*args)` in a new process; everything is pickled, so it must be importable.

    Cancelled, it kills the child. Killed, this process takes the child with it.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(theirs, os.getpid(), function, args), daemon=True)
    child.start()
    theirs.close()
    receiving = asyncio.ensure_future(asyncio.to_thread(_receive, ours))
    try:
        succeeded, value = await asyncio.shield(receiving)
    except EOFError:
        await asyncio.to_thread(child.join)
        raise ChildFailed(f"the process ended with code {child.exitcode}") from None
    finally:
        child.kill()
        await asyncio.shield(asyncio.to_thread(child.join))
        await asyncio.gather(receiving, return_exceptions=True)
        ours.close()
    if not succeeded:
        raise ChildFailed(value)
    result: T = value
    return result


def _receive(connection: Connection) -> tuple[bool, Any]:
    succeeded, value = connection.recv()
    return bool(succeeded), value


def _work(
    connection: Connection, parent_pid: int, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    die_with(parent_pid, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.nice(NICENESS)
    try:
        answer = (True, function(*args))
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        answer = (False, error_text(error))
    connection.send(answer)
