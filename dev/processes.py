"""Starting and ending programs: none of ours is left behind, none of anybody else's is touched."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child may not import or allocate much between fork and exec.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """The system user that a service runs as when we are root ourselves."""

    name: str
    uid: int
    gid: int


def start_process(
    argv: Sequence[str],
    *,
    output: IO[bytes] | int,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    executable: str | None = None,
    account: Account | None = None,
    dies_with_us: signal.Signals | None = None,
) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so the terminal's Ctrl-C reaches only us.

    `dies_with_us` is the signal the kernel sends it should we be killed (Linux). It is tied to
    the calling thread, so call this from the main one.
    """
    return subprocess.Popen(
        argv,
        executable=executable,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=env,
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        preexec_fn=_tied_to_us(dies_with_us),  # noqa: PLW1509 - we never start threads
    )


def _tied_to_us(death_signal: signal.Signals | None) -> Callable[[], None] | None:
    if death_signal is None or _LIBC is None:
        return None
    libc, number, parent = _LIBC, int(death_signal), os.getpid()

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # we were killed between fork and prctl
            os._exit(1)

    return tie


def stop_process(
    process: subprocess.Popen[bytes], *, ask: signal.Signals, patience_seconds: float
) -> None:
    """Ask, wait, and then kill what is left of its process group."""
    if process.poll() is None:
        process.send_signal(ask)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
    kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop_stranger(pid: int, *, ask: signal.Signals, patience_seconds: float) -> None:
    """End a process that is not our child, for example one that a killed run left behind."""
    for number in (ask, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            if not is_alive(pid):
                return
            time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # a zombie whose parent never waits is not alive to anybody
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return True


def works_in(pid: int, folder: Path, program: str) -> bool:
    """Whether `pid` is that program with that working directory, so not a reused number."""
    if not is_alive(pid):
        return False
    process = Path(f"/proc/{pid}")
    if process.exists():
        try:
            words = (process / "cmdline").read_text(errors="replace")
            return program in words and (process / "cwd").resolve() == folder.resolve()
        except OSError:
            return False
    # macOS has no /proc and shows no working directory; the program's name has to do.
    listed = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return program in listed.stdout


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without it a port that we ourselves used a minute ago would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
