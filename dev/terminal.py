"""What the person at the terminal reads: one line a step, and one clear message when it fails."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TAIL_LINES = 25


class SetupError(Exception):
    """Ends the command with this message and exit code 1; `log` names the file to look into."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class Stop(BaseException):
    """A signal asked the command to end; like KeyboardInterrupt, no `except Exception` eats it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


def coloured() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if coloured() else text


def say(text: str = "", end: str = "\n") -> None:
    # The terminal may be gone (SIGHUP, `| head`): clean-up has to go on without it.
    with contextlib.suppress(OSError, ValueError):
        print(text, end=end, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    started = time.monotonic()
    say(f"  {title:<58}", end="")
    try:
        yield
    except BaseException:
        say(paint("failed", "31"))
        raise
    say(f"{time.monotonic() - started:6.1f} s")


def explain(fault: SetupError) -> None:
    say(f"\n{paint('Error:', '1;31')} {fault}")
    if fault.log is not None and fault.log.is_file():
        say(f"The end of {fault.log}:")
        for line in tail(fault.log):
            say(f"    {line}")


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-lines:]
