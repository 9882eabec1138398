import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from dev.private_postgres import PrivatePostgres
from dev.private_redis import PrivateRedis
from dev.private_service import PrivateService
from dev.processes import is_alive
from tests.dev.stand_in import await_true

SERVICES: list[type[PrivateService]] = [PrivatePostgres, PrivateRedis]


def say_to_redis(redis: PrivateRedis, command: str) -> str:
    with socket.create_connection(("127.0.0.1", redis.port), timeout=60) as connection:
        connection.sendall(f"AUTH {redis.password}\r\n{command}\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


def test_postgres_keeps_data_password_and_port(reachable_path: Path) -> None:
    with PrivatePostgres(reachable_path / "pg") as first:
        first.sql("CREATE TABLE kept AS SELECT 42 AS answer")
        url = first.url
    with PrivatePostgres(reachable_path / "pg") as second:
        assert second.sql("SELECT answer FROM kept") == "42"
        assert second.url == url


def test_postgres_has_postgis_and_a_role_that_may_create_databases(reachable_path: Path) -> None:
    with PrivatePostgres(reachable_path / "pg", durable=False) as postgres:
        postgres.sql("CREATE EXTENSION postgis")
        postgres.sql("CREATE DATABASE another")
        assert postgres.sql("SELECT ST_Distance('POINT(0 0)', 'POINT(3 4)')") == "5"
        assert postgres.sql("SHOW server_encoding") == "UTF8"


def test_redis_keeps_data_across_a_crash(reachable_path: Path) -> None:
    redis = PrivateRedis(reachable_path / "redis")
    redis.start()
    say_to_redis(redis, "SET kept 42")
    assert redis.process is not None
    # appendfsync everysec survives a killed process at once, and a killed machine a second later.
    redis.process.kill()
    redis.process.wait()
    with PrivateRedis(reachable_path / "redis") as again:
        assert "42" in say_to_redis(again, "GET kept")


@pytest.mark.parametrize("kind", SERVICES)
def test_only_on_this_machine_with_a_password_in_a_private_file(
    kind: type[PrivateService], reachable_path: Path
) -> None:
    with kind(reachable_path / "home", durable=False) as service:
        assert service.port not in {5432, 6379}
        assert service.password in service.url
        access = reachable_path / "home" / "access.json"
        assert stat.S_IMODE(access.stat().st_mode) == 0o600
        assert stat.S_IMODE(access.parent.stat().st_mode) == 0o700
        assert service.process is not None
        arguments = Path(f"/proc/{service.process.pid}/cmdline").read_text()
        assert service.password not in arguments


def test_redis_refuses_without_the_password(reachable_path: Path) -> None:
    with PrivateRedis(reachable_path / "redis") as redis:
        redis.password, kept = "wrong", redis.password
        assert not redis.answers()
        redis.password = kept
        assert redis.answers()


@pytest.mark.parametrize("kind", SERVICES)
def test_a_remembered_port_that_somebody_took_is_replaced(
    kind: type[PrivateService], reachable_path: Path
) -> None:
    with kind(reachable_path / "home") as first:
        port = first.port
    with socket.create_server(("127.0.0.1", port)), kind(reachable_path / "home") as second:
        assert second.port != port
        assert second.answers()


@pytest.mark.parametrize("kind", SERVICES)
def test_what_a_killed_run_left_behind_is_ended_first(
    kind: type[PrivateService], reachable_path: Path
) -> None:
    first = kind(reachable_path / "home", attached=False)
    first.start()
    assert first.process is not None
    orphan = first.process.pid
    with kind(reachable_path / "home") as second:
        first.process.wait()
        assert not is_alive(orphan)
        assert second.answers()


@pytest.mark.parametrize("kind", SERVICES)
def test_running_service_can_be_taken_over(
    kind: type[PrivateService], reachable_path: Path
) -> None:
    with kind(reachable_path / "home", attached=False) as first:
        other = kind(reachable_path / "home", attached=False)
        assert other.reuse()
        assert other.url == first.url
    assert not other.reuse()


def test_stale_pid_file_does_not_hinder_the_start(reachable_path: Path) -> None:
    with PrivatePostgres(reachable_path / "pg"):
        pass
    # Of a machine that lost its power: the number belongs to another program by now.
    stale = reachable_path / "pg" / "data" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{reachable_path}/pg/data\n1\n5432\n\n127.0.0.1\n\nready\n")
    with PrivatePostgres(reachable_path / "pg") as postgres:
        assert postgres.sql("SELECT 1") == "1"


@pytest.mark.parametrize("kind", SERVICES)
def test_a_service_that_does_not_start_leaves_no_process(
    kind: type[PrivateService], reachable_path: Path
) -> None:
    class Silent(kind):  # type: ignore[valid-type, misc]
        def answers(self) -> bool:
            os.kill(os.getpid(), signal.SIGUSR1)
            return False

    class StartInterruptedError(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise StartInterruptedError

    before = signal.signal(signal.SIGUSR1, interrupt)
    service = Silent(reachable_path / "home")
    try:
        with pytest.raises(StartInterruptedError):
            service.start()
    finally:
        signal.signal(signal.SIGUSR1, before)
    await_true(lambda: service.running_pid() is None)
    assert service.process is None
