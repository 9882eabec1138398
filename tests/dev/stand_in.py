"""A copy of the project's tools around a stand-in application."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PATIENT = 120.0
"""Seconds for what has to happen, however busy the machine is. Not a statement about speed."""

STUB = """\
#!{python}
# {venv}
import http.server, os, pathlib, signal, sys, time

command = sys.argv[1]
pathlib.Path("calls").open("a").write(command + "\\n")
if command == "demo-accounts":
    print("demo@example.com")
if command not in ("serve", "worker", "scheduler"):
    sys.exit(0)
draft = pathlib.Path(command + ".pid.new")
draft.write_text(str(os.getpid()))
draft.rename(command + ".pid")
print(command, "is up", flush=True)
if pathlib.Path("broken-" + command).exists():
    sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if command == "serve":
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_):
            pass
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
while True:
    time.sleep(1)
"""


def heed_signals() -> None:
    """A test run in the background ignores Ctrl-C, and its children would inherit that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Copy:
    """A project folder of its own, in which a whole run takes a second or two."""

    path: Path
    environment: dict[str, str]
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def command(self, *words: str, **variables: str) -> "subprocess.Popen[bytes]":
        output = self.path / f"output-{len(self.started)}"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "dev", *words],
                cwd=self.path,
                env=self.environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=heed_signals,  # noqa: PLW1509 - these tests have no threads
            )
        self.started.append(process)
        return process

    def output(self, process: "subprocess.Popen[bytes]") -> str:
        return (self.path / f"output-{self.started.index(process)}").read_text()

    def await_output(self, process: "subprocess.Popen[bytes]", text: str) -> str:
        await_true(lambda: text in self.output(process) or process.poll() is not None)
        assert text in self.output(process), self.output(process)
        return self.output(process)

    def pid(self, part: str) -> int:
        return int((self.path / f"{part}.pid").read_text())

    def all_pids(self) -> list[int]:
        """Of every process of this copy: found by what is running, not by what was noted."""
        return [pid for pid in running_pids() if _belongs(pid, self.path)]


def write_program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def await_true(condition: Callable[[], object], seconds: float = PATIENT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def running_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _belongs(pid: int, folder: Path) -> bool:
    try:
        zombie = ") Z " in Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return not zombie and Path(f"/proc/{pid}/cwd").resolve().is_relative_to(folder)
    except OSError:
        return False
