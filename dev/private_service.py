"""What the private PostgreSQL and the private Redis have in common.

A service has a home folder with its data, its log and `access.json` (port and password, mode
600), listens on 127.0.0.1 only, and is recognised by its pid file plus its working directory.
"""

import json
import os
import pwd
import random
import secrets
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from dev.folder import write_private
from dev.processes import Account, port_is_free, stop_process, stop_stranger, works_in
from dev.terminal import SetupError

# Below the range from which Linux and macOS hand out outgoing ports, so that no connection of
# some other program sits on a remembered one.
PORT_RANGE = range(20_000, 32_000)
PORT_TRIES = 5
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class PrivateService(ABC):
    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, home: Path, *, durable: bool = True, attached: bool = True) -> None:
        """`durable=False` gives up safety for speed and starts from an empty folder.

        `attached=False` lets the service live on after this process.
        """
        self.home = home
        self.durable = durable
        self.attached = attached
        self.account = service_account()
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.password = ""

    # What a subclass says about its program.

    @property
    @abstractmethod
    def url(self) -> str: ...

    def prepare(self) -> None:  # noqa: B027 - some have nothing to prepare
        """Make the data folder, if it is not there yet."""

    @abstractmethod
    def spawn(self) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def answers(self) -> bool: ...

    def finish_start(self) -> None:  # noqa: B027 - nor to finish
        """What is left to do once it answers."""

    @abstractmethod
    def running_pid(self) -> int | None:
        """The process that serves this home now, whoever started it."""

    # What they share.

    @property
    def log(self) -> Path:
        return self.home / f"{self.name}.log"

    def reuse(self) -> bool:
        """Take over the service of this home if it runs and answers."""
        if self.running_pid() is None or not self._load_access():
            return False
        return self.answers()

    def start(self) -> None:
        """Start afresh; a process that a killed run left behind in this home is ended first."""
        if (orphan := self.running_pid()) is not None:
            stop_stranger(orphan, ask=self.stop_signal, patience_seconds=STOP_SECONDS)
        if not self.durable:
            shutil.rmtree(self.home, ignore_errors=True)
        self._open_home()
        if not self._load_access():
            self.password = secrets.token_urlsafe(24)
        try:
            self.prepare()
            self._start_on_free_port()
            self.finish_start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self.process is not None:
            stop_process(self.process, ask=self.stop_signal, patience_seconds=STOP_SECONDS)
            self.process = None
        elif (pid := self.running_pid()) is not None:
            stop_stranger(pid, ask=self.stop_signal, patience_seconds=STOP_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_on_free_port(self) -> None:
        for _ in range(PORT_TRIES):
            if not self.port or not port_is_free(self.port):
                self.port = choose_port()
            self._save_access()
            self.process = self.spawn()
            if self._wait_until_it_answers():
                return
            if port_is_free(self.port):
                break
            # Somebody took the port between the look and the start.
        raise SetupError(f"the private {self.name} did not start", self.log)

    def _wait_until_it_answers(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            if self.answers():
                return True
            time.sleep(0.02)
        self.stop()
        return False

    def _open_home(self) -> None:
        if self.home.exists() and self.home.stat().st_uid != self._owner():
            raise SetupError(
                f"{self.home} belongs to another user (perhaps an earlier run as root). Run as"
                " that user, delete it (it holds the data), or set AUSPEX_DATA to another folder."
            )
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)
        self.give(self.home)

    def _owner(self) -> int:
        return self.account.uid if self.account else os.geteuid()

    def give(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)

    @property
    def _access(self) -> Path:
        return self.home / "access.json"

    def _load_access(self) -> bool:
        try:
            known = json.loads(self._access.read_text(encoding="ascii"))
            self.port, self.password = int(known["port"]), str(known["password"])
        except (OSError, ValueError, KeyError):
            return False
        return True

    def _save_access(self) -> None:
        write_private(self._access, json.dumps({"port": self.port, "password": self.password}))


def choose_port() -> int:
    for _ in range(200):
        port = random.choice(PORT_RANGE)
        if port_is_free(port):
            return port
    raise SetupError(f"no free port found between {PORT_RANGE.start} and {PORT_RANGE.stop}")


def service_account() -> Account | None:
    """PostgreSQL refuses to run as root; the package's own user is there to run it."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        raise SetupError(
            "run as root, and there is no system user 'postgres' to run it as"
        ) from None
    return Account("postgres", entry.pw_uid, entry.pw_gid)


def pid_from(file: Path, folder: Path, program: str) -> int | None:
    """The pid in that file if it still is that program in that folder; else the file is stale."""
    try:
        pid = int(file.read_text(encoding="ascii", errors="replace").split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if works_in(pid, folder, program) else None
