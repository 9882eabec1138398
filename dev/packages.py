"""The system packages the project needs, installed with apt when, and only when, one is missing.

Installing is all that happens to the system: no database cluster is created, no service is
started or enabled, and nothing that exists is upgraded, restarted or removed.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path

from dev.browser import system_browser
from dev.private_postgres import postgis_servers
from dev.private_redis import redis_server
from dev.terminal import SetupError, Stop, paint, say, step

# Debian's packages create and start a cluster "main" on port 5432 unless told otherwise here.
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/auspex-setup.conf")
DOCKER_HINT = "Or, with Docker: docker compose up --build"


class Need(Enum):
    """What a command needs of the system: the package's name, and what people call it."""

    POSTGRES = ("postgresql-postgis", "PostgreSQL (the server) with PostGIS")
    # It holds the server program, and unlike `redis-server` brings no system service.
    REDIS = ("redis-tools", "Redis (redis-server)")
    VENV = ("python{}.{}-venv".format(*sys.version_info), "Python's modules venv and ensurepip")
    BROWSER = ("chromium", "Chromium")

    @property
    def package(self) -> str:
        return self.value[0]

    @property
    def plain_name(self) -> str:
        return self.value[1]

    def is_there(self) -> bool:
        match self:
            case Need.POSTGRES:
                return bool(postgis_servers())
            case Need.REDIS:
                return redis_server() is not None
            case Need.VENV:
                return importlib.util.find_spec("ensurepip") is not None
            case Need.BROWSER:
                return system_browser() is not None


def install_missing(log: Path, needs: Mapping[Need, bool]) -> None:
    lacking = [need for need, wanted in needs.items() if wanted and not need.is_there()]
    if not lacking:
        return
    if shutil.which("apt-get") is None:
        raise SetupError(_without_apt(lacking))
    _install(log, [need.package for need in lacking])
    postgis_servers.cache_clear()
    redis_server.cache_clear()
    importlib.invalidate_caches()
    if still := [need.plain_name for need in lacking if not need.is_there()]:
        raise SetupError(f"still missing after apt-get has run: {', '.join(still)}", log)


def _install(log: Path, missing: Sequence[str]) -> None:
    prefix = _as_root(missing)
    say(f"Missing on this system: {', '.join(missing)}")
    if prefix:
        say("Installing them with apt-get; sudo may ask for your password.")
        if _wait(subprocess.Popen([*prefix, "true"])) != 0:
            raise SetupError(_without_root(missing))
    with step("System packages"):
        # A third-party source that is down need not matter; the install will tell.
        _apt(prefix, ["update"], log)
        with _no_main_cluster(prefix):
            code = _apt(prefix, ["install", "--yes", "--no-install-recommends", *missing], log)
    if code != 0:
        raise SetupError(f"apt-get could not install {' '.join(missing)}", log)


def _as_root(missing: Sequence[str]) -> list[str]:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        raise SetupError(_without_root(missing))
    return ["sudo"]


def _apt(prefix: Sequence[str], arguments: Sequence[str], log: Path) -> int:
    settings = [
        "DEBIAN_FRONTEND=noninteractive",
        "NEEDRESTART_SUSPEND=1",  # Ubuntu's hook would restart other people's services
    ]
    command = [*prefix, "env", *settings, "apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments]
    with log.open("ab") as stream:
        return _wait(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
            )
        )


def _wait(process: "subprocess.Popen[bytes]") -> int:
    """Even when we are told to stop: dpkg, killed half-way, leaves a broken system."""
    try:
        return process.wait()
    except Stop:
        process.wait()
        raise


@contextlib.contextmanager
def _no_main_cluster(prefix: Sequence[str]) -> Iterator[None]:
    write = f'mkdir -p "{NO_CLUSTER.parent}" && echo create_main_cluster=off > "{NO_CLUSTER}"'
    subprocess.run([*prefix, "sh", "-c", write], check=True)
    try:
        yield
    finally:
        subprocess.run([*prefix, "rm", "-f", str(NO_CLUSTER)], check=True)


def _without_apt(lacking: Sequence[Need]) -> str:
    names = ", ".join(need.plain_name for need in lacking)
    return (
        f"this system has no apt-get, and these are missing: {names}.\n"
        "Install them so that they are found on the PATH, and try again.\n"
        f"{DOCKER_HINT}"
    )


def _without_root(missing: Sequence[str]) -> str:
    command = f"apt-get install --no-install-recommends {' '.join(missing)}"
    return (
        "system packages are missing, and installing them takes root or sudo.\n"
        f"Ask an administrator to run: {paint(command, '1')}\n{DOCKER_HINT}"
    )
