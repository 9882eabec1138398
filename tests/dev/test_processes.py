import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import dev.address
from dev.address import Address
from dev.private_service import PORT_RANGE, choose_port, pid_from
from dev.processes import is_alive, port_is_free, start_process, stop_process
from dev.terminal import SetupError
from tests.dev.stand_in import await_true


def listen() -> socket.socket:
    # Not a port of the kernel's choice: an outgoing connection may have it the moment it is free.
    return socket.create_server(("127.0.0.1", choose_port()))


def test_a_taken_port_is_not_free() -> None:
    with listen() as server:
        port = server.getsockname()[1]
        assert not port_is_free(port)
    assert port_is_free(port)


def test_chosen_port_is_free_and_none_that_others_expect() -> None:
    port = choose_port()
    assert port in PORT_RANGE
    assert not {5432, 6379, 8000} & set(PORT_RANGE)
    assert port_is_free(port)


def test_port_given_and_taken_is_refused_by_name() -> None:
    with listen() as server:
        port = server.getsockname()[1]
        with pytest.raises(SetupError, match=f"PORT={port} is taken"):
            Address({"PORT": str(port)})


@pytest.mark.parametrize("given", ["0", "65536", "http", "-1"])
def test_port_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(SetupError, match="not a port number"):
        Address({"PORT": given})


def test_without_port_a_free_one_is_taken_and_left_when_another_was_quicker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert dev.address.FIRST_PORT == 8000
    # Far from where the other tests' runs look for theirs.
    monkeypatch.setattr(dev.address, "FIRST_PORT", choose_port())
    address = Address({})
    first = address.port
    address.choose_again()
    assert address.port == first
    with socket.create_server(("127.0.0.1", first)):
        address.choose_again()
        assert address.port > first
        address.fixed, address.port = True, first
        address.choose_again()
        assert address.port == first


@pytest.mark.parametrize("content", ["", "no number", "999999999", "ours"])
def test_stale_pid_file_points_to_nobody(tmp_path: Path, content: str) -> None:
    """The last case is the dangerous one: the number now belongs to another program."""
    file = tmp_path / "postmaster.pid"
    file.write_text(content.replace("ours", str(os.getpid())))
    assert pid_from(file, tmp_path, "postgres") is None


def test_pid_file_of_a_program_in_its_folder_is_recognised(tmp_path: Path) -> None:
    process = start_process(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        output=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    file = tmp_path / "pid"
    file.write_text(f"{process.pid}\nmore\n")
    await_true(lambda: pid_from(file, tmp_path, "time.sleep") == process.pid)
    assert pid_from(file, tmp_path.parent, "time.sleep") is None
    stop_process(process, ask=signal.SIGTERM, patience_seconds=5)
    assert pid_from(file, tmp_path, "time.sleep") is None


def test_stopping_takes_the_grandchildren_along(tmp_path: Path) -> None:
    script = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path('grandchild').write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    process = start_process([sys.executable, "-c", script], output=subprocess.DEVNULL, cwd=tmp_path)
    note = tmp_path / "grandchild"
    await_true(lambda: note.exists() and note.read_text())
    grandchild = int(note.read_text())
    assert is_alive(grandchild)
    stop_process(process, ask=signal.SIGTERM, patience_seconds=5)
    await_true(lambda: not is_alive(grandchild))
