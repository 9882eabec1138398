"""Whole runs with a stand-in application: what starts, what restarts, and that nothing stays."""

import os
import re
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from dev.processes import is_alive
from tests.dev.stand_in import PATIENT, Copy, await_true

pytestmark = pytest.mark.slow

PARTS = ("serve", "worker", "scheduler")
# Spares the tests that are not about them the private services.
ELSEWHERE = {"DATABASE_URL": "postgresql://elsewhere/db", "REDIS_URL": "redis://elsewhere"}


def test_everything_starts_in_order_and_the_address_is_told_once(copy: Copy) -> None:
    run = copy.command("run")
    output = copy.await_output(run, "Started in")
    assert len(re.findall(r"^Ready: http://127\.0\.0\.1:\d+/graphql$", output, re.MULTILINE)) == 1
    assert "demo@example.com" in output
    calls = (copy.path / "calls").read_text().split()
    assert calls[0] == "prepare"
    assert sorted(calls[1:4]) == sorted(PARTS)
    assert "worker | worker is up" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(copy: Copy, number: signal.Signals) -> None:
    run = copy.command("run")
    copy.await_output(run, "Started in")
    assert len(copy.all_pids()) >= 6
    run.send_signal(number)
    assert run.wait(PATIENT) == 0
    await_true(lambda: not copy.all_pids())


def test_a_signal_during_the_set_up_ends_everything(copy: Copy) -> None:
    run = copy.command("run")
    copy.await_output(run, "Private PostgreSQL")
    run.send_signal(signal.SIGTERM)
    run.wait(PATIENT)
    await_true(lambda: not copy.all_pids())


def test_a_killed_run_leaves_nothing_and_the_next_one_has_its_data(copy: Copy) -> None:
    run = copy.command("run")
    copy.await_output(run, "Started in")
    run.kill()
    run.wait()
    await_true(lambda: not copy.all_pids())
    again = copy.command("run")
    output = copy.await_output(again, "Started in")
    assert "Error" not in output


def test_a_second_run_in_the_same_folder_is_refused(copy: Copy) -> None:
    run = copy.command("run", **ELSEWHERE)
    copy.await_output(run, "Started in")
    second = copy.command("run", **ELSEWHERE)
    assert second.wait(PATIENT) == 1
    assert "it runs already: http://127.0.0.1:" in copy.output(second)
    assert run.poll() is None


def test_two_folders_run_side_by_side(copy: Copy) -> None:
    one = copy.command("run")
    copy.await_output(one, "Started in")
    two = copy.command("run", AUSPEX_DATA=str(copy.path / "other"))
    copy.await_output(two, "Started in")
    assert one.poll() is None


@pytest.mark.parametrize("part", PARTS)
def test_a_dead_part_is_restarted(copy: Copy, part: str) -> None:
    run = copy.command("run", **ELSEWHERE)
    copy.await_output(run, "Started in")
    before = copy.pid(part)
    os.kill(before, signal.SIGKILL)
    await_true(lambda: copy.pid(part) != before and is_alive(copy.pid(part)))
    assert "ended with exit code -9; restart in" in copy.output(run)


def pid_in(file: Path) -> str:
    """Empty while the file is away or being written: both happen during a restart."""
    with suppress(OSError):
        return file.read_text().partition("\n")[0].strip()
    return ""


@pytest.mark.parametrize("service", ["redis", "postgresql"])
def test_a_dead_service_is_restarted_at_the_same_address(copy: Copy, service: str) -> None:
    run = copy.command("run")
    copy.await_output(run, "Started in")
    home = copy.path / ".auspex" / "services" / service
    pid_file = home / ("redis.pid" if service == "redis" else "data/postmaster.pid")
    before, access = pid_in(pid_file), (home / "access.json").read_text()
    os.kill(int(before), signal.SIGKILL)
    await_true(lambda: pid_in(pid_file) not in {"", before})
    assert (home / "access.json").read_text() == access
    assert run.poll() is None


def test_a_part_that_does_not_stay_up_ends_the_run(copy: Copy) -> None:
    (copy.path / "broken-worker").touch()
    run = copy.command("run", **ELSEWHERE)
    assert run.wait(PATIENT) == 1
    output = copy.output(run)
    assert "worker does not stay up" in output
    assert "logs/worker.log" in output
    await_true(lambda: not copy.all_pids())


def test_a_taken_port_is_named(copy: Copy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        run = copy.command("run", PORT=str(port), **ELSEWHERE)
        assert run.wait(PATIENT) == 1
    assert f"PORT={port} is taken" in copy.output(run)


def test_own_database_and_redis_are_used_when_given(copy: Copy) -> None:
    run = copy.command("run", **ELSEWHERE)
    output = copy.await_output(run, "Started in")
    assert "Private" not in output
    assert not (copy.path / ".auspex" / "services").exists()
