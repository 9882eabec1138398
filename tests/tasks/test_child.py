"""CPU-bound work in processes of its own."""

import asyncio
import os
from pathlib import Path

import pytest

from tasks.child import ChildFailed, run_in_child
from tests.tasks.bench import Bench, alive, eventually
from tests.tasks.demo_jobs import burn_and_tell


def add(one: int, two: int) -> int:
    return one + two


def fail() -> None:
    raise KeyError("postgresql://auspex:s3cret@db/auspex")


def die() -> None:
    os._exit(7)


def text_of(file: Path) -> str:
    return file.read_text() if file.exists() else ""


async def started(file: Path) -> int:
    """The pid that the child has written."""

    async def written() -> bool:
        return bool(text_of(file))

    await eventually(written)
    return int(text_of(file))


async def test_it_returns_what_the_function_returns() -> None:
    assert await run_in_child(add, 2, 3) == 5


async def test_an_error_comes_back_as_text_without_secrets() -> None:
    with pytest.raises(ChildFailed, match=r"KeyError: 'postgresql://\*\*\*@db/auspex'"):
        await run_in_child(fail)


async def test_a_dead_child_is_an_error() -> None:
    with pytest.raises(ChildFailed, match="code 7"):
        await run_in_child(die)


async def test_the_event_loop_stays_free(tmp_path: Path) -> None:
    burning = asyncio.create_task(run_in_child(burn_and_tell, 1.5, str(tmp_path / "pid")))
    await started(tmp_path / "pid")
    ticks = 0
    while not burning.done():
        await asyncio.sleep(0.01)
        ticks += 1
    await burning
    assert ticks > 10  # 150 on a quiet machine, one or two on a blocked loop


async def test_cancelled_it_kills_the_child(tmp_path: Path) -> None:
    burning = asyncio.create_task(run_in_child(burn_and_tell, 60.0, str(tmp_path / "pid")))
    pid = await started(tmp_path / "pid")
    assert alive(pid)
    burning.cancel()
    await asyncio.gather(burning, return_exceptions=True)
    assert not alive(pid)


@pytest.mark.slow
async def test_a_killed_worker_takes_its_child_with_it(bench: Bench, tmp_path: Path) -> None:
    worker = bench.start_worker()
    bench.start_scheduler()
    await bench.enqueue("demo.train", seconds=600, file=str(tmp_path / "pid"))
    pid = await started(tmp_path / "pid")
    assert alive(pid)
    worker.kill()

    async def gone() -> bool:
        return not alive(pid)

    await eventually(gone)
