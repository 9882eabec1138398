"""A Redis server in a folder of the project's own."""

import os
import shutil
import signal
import socket
import subprocess
from functools import cache
from pathlib import Path

from dev.folder import write_private
from dev.private_service import PrivateService, pid_from
from dev.processes import start_process

KEPT = "appendonly yes\nappendfsync everysec"
FORGOTTEN = "appendonly no"


class PrivateRedis(PrivateService):
    name = "Redis"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def spawn(self) -> subprocess.Popen[bytes]:
        program = redis_server()
        assert program is not None
        # In a file, because a command line is readable by every user of the machine.
        settings = self.home / "redis.conf"
        write_private(settings, self._settings())
        self.give(settings)
        with self.log.open("wb") as log:
            return start_process(
                ["redis-server", str(settings)],
                executable=str(program),
                output=log,
                cwd=self.home,
                account=self.account,
                dies_with_us=self.stop_signal if self.attached else None,
            )

    def _settings(self) -> str:
        return f"""\
bind 127.0.0.1
port {self.port}
requirepass {self.password}
dir "{self.home}"
pidfile "{self.home}/redis.pid"
daemonize no
databases 64
save ""
{KEPT if self.durable else FORGOTTEN}
"""

    def answers(self) -> bool:
        request = f"*2\r\n$4\r\nAUTH\r\n${len(self.password)}\r\n{self.password}\r\nPING\r\n"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(request.encode("ascii"))
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := connection.recv(256)):
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def running_pid(self) -> int | None:
        return pid_from(self.home / "redis.pid", self.home, "redis-server")


@cache
def redis_server() -> Path | None:
    """The server program.

    Debian's `redis-tools` holds it under the name redis-check-rdb (it is one program that looks
    at the name it was called by); the package `redis-server` adds a service on port 6379 that
    starts with the machine, which we don't want there for our sake.
    """
    for name in ("redis-server", "redis-check-rdb"):
        if (found := shutil.which(name, path=_search_path())) and _is_server(found):
            return Path(found)
    return None


def _is_server(program: str) -> bool:
    asked = subprocess.run(
        ["redis-server", "--version"],
        executable=program,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.startswith("Redis server")


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/bin", "/usr/local/bin"])
