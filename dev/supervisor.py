"""Keeps the running parts up, shows their logs in one stream, and ends them in order.

One thread, one loop: the kernel ties a child's death signal to the thread that started it.
"""

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from dev.processes import kill_group
from dev.terminal import SetupError, paint, say

LOOP_SECONDS = 0.2
# A part that falls this often within the window will not come up by itself.
RESTARTS_ALLOWED = 4
RESTART_WINDOW_SECONDS = 60.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 8.0


@dataclass
class Part:
    """One running part; `start` returns its process once it is worth watching."""

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    stop_signal: signal.Signals = signal.SIGTERM
    patience_seconds: float = 8.0
    colour: str = "0"
    # Parts of a higher rank end after all those of a lower one.
    rank: int = 0
    log: Path | None = None

    process: "subprocess.Popen[bytes] | None" = None
    falls: deque[float] = field(default_factory=deque)
    starts_at: float = 0.0
    started_at: float = 0.0
    unfinished: bytes = b""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._outputs = selectors.DefaultSelector()
        self._logs: dict[str, IO[bytes]] = {}

    def add(self, part: Part) -> None:
        self.parts.append(part)
        if part.log is not None:
            self._logs[part.name] = part.log.open("wb")
        if part.process is None:
            self._start(part)

    def turn(self) -> None:
        """Show what was printed since, and restart what fell. Takes LOOP_SECONDS at most."""
        self._show_output(LOOP_SECONDS)
        now = time.monotonic()
        for part in self.parts:
            if part.process is None and now >= part.starts_at:
                self._restart(part, now)
            elif part.process is not None and part.process.poll() is not None:
                kill_group(part.process)  # what a dead master left of its own children
                self._fell(part, now, f"ended with exit code {part.process.returncode}")

    def settled(self, seconds: float) -> bool:
        """Whether every part has been up that long without falling."""
        now = time.monotonic()
        return all(part.running and now - part.started_at >= seconds for part in self.parts)

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """End the parts rank by rank; `hurry` says that the person does not want to wait."""
        for rank in sorted({part.rank for part in self.parts}):
            ending = [part for part in self.parts if part.rank == rank and part.process]
            for part in ending:
                if part.running and part.process:
                    part.process.send_signal(part.stop_signal)
            self._await_end(ending, hurry)
        self._show_output(0)
        self.parts.clear()
        for log in self._logs.values():
            log.close()

    def _await_end(self, ending: list[Part], hurry: Callable[[], bool]) -> None:
        deadline = time.monotonic() + max((part.patience_seconds for part in ending), default=0)
        while any(part.running for part in ending) and time.monotonic() < deadline:
            if ending[0].rank == 0 and hurry():  # PostgreSQL and Redis always end in peace
                break
            self._show_output(0.05)
        for part in ending:
            if part.running:
                say(f"{part.name} did not end in time and was killed")
            if part.process:
                kill_group(part.process)

    def _start(self, part: Part) -> None:
        part.process = part.start()
        part.started_at = time.monotonic()
        if part.process.stdout is not None:
            os.set_blocking(part.process.stdout.fileno(), False)
            self._outputs.register(part.process.stdout, selectors.EVENT_READ, part)

    def _restart(self, part: Part, now: float) -> None:
        try:
            self._start(part)
        except SetupError as error:
            self._fell(part, now, str(error))

    def _fell(self, part: Part, now: float, how: str) -> None:
        part.process = None
        part.falls.append(now)
        while now - part.falls[0] > RESTART_WINDOW_SECONDS:
            part.falls.popleft()
        if len(part.falls) > RESTARTS_ALLOWED:
            raise SetupError(
                f"{part.name} does not stay up; {len(part.falls)} times within"
                f" {RESTART_WINDOW_SECONDS:.0f} s it {how}",
                part.log,
            )
        delay = min(FIRST_DELAY_SECONDS * 2 ** (len(part.falls) - 1), LONGEST_DELAY_SECONDS)
        part.starts_at = now + delay
        say(paint(f"{part.name} {how}; restart in {delay:g} s", "33"))

    def _show_output(self, wait_seconds: float) -> None:
        if not self._outputs.get_map():
            time.sleep(wait_seconds)
            return
        for key, _ in self._outputs.select(wait_seconds):
            part: Part = key.data
            for line in self._read_lines(part, key.fileobj):  # type: ignore[arg-type]
                text = line.decode(errors="replace").rstrip()
                say(f"{paint(f'{part.name:>9} |', part.colour)} {text}")

    def _read_lines(self, part: Part, stream: IO[bytes]) -> Iterator[bytes]:
        chunk = os.read(stream.fileno(), 65_536)
        if log := self._logs.get(part.name):
            log.write(chunk)
            log.flush()
        if not chunk:
            self._outputs.unregister(stream)
            stream.close()
        *lines, part.unfinished = (part.unfinished + chunk).split(b"\n")
        if not chunk and part.unfinished:
            lines.append(part.unfinished)
            part.unfinished = b""
        yield from lines
