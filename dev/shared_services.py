"""The PostgreSQL and Redis that tests, gates and benchmarks run against.

They are separate from those of `make run`, give up durability for speed, and start empty. Several
commands may use them at once: the first starts them, the last one out stops them.
"""

import contextlib
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dev.folder import DataFolder, FileLock
from dev.packages import Need, install_missing
from dev.private_postgres import PrivatePostgres
from dev.private_redis import PrivateRedis
from dev.service_home import service_home
from dev.terminal import say, step

DATABASE_VARIABLE = "TEST_DATABASE_URL"
REDIS_VARIABLE = "TEST_REDIS_URL"


@dataclass(frozen=True)
class ServiceUrls:
    database: str
    redis: str

    def as_environment(self) -> dict[str, str]:
        return {DATABASE_VARIABLE: self.database, REDIS_VARIABLE: self.redis}


class SharedServices:
    """`start` and `stop` are safe against other commands that do the same at the same moment."""

    def __init__(self, folder: DataFolder, env: Mapping[str, str]) -> None:
        home = service_home(folder.path, "test")
        # Not attached: another command may still be using them when this one ends.
        self.postgres = PrivatePostgres(home / "postgres", durable=False, attached=False)
        self.redis = PrivateRedis(home / "redis", durable=False, attached=False)
        self.given_database = env.get(DATABASE_VARIABLE)
        self.given_redis = env.get(REDIS_VARIABLE)
        self._change = folder.path / "test" / "change.lock"
        self._users = folder.path / "test" / "use.lock"
        self._using: FileLock | None = None
        self._kept = folder.path / "test" / "keep-running"

    def start(self) -> ServiceUrls:
        with self._changing():
            services = ((self.given_database, self.postgres), (self.given_redis, self.redis))
            for given, service in services:
                if not given and not service.reuse():
                    with step(f"Private {service.name} for the tests"):
                        service.start()
            self._using = FileLock(self._users)
            self._using.hold(shared=True)
        return ServiceUrls(
            self.given_database or self.postgres.url, self.given_redis or self.redis.url
        )

    def stop(self) -> None:
        with self._changing():
            lock, self._using = self._using or FileLock(self._users), None
            if not self._kept.exists() and lock.hold(wait=False):
                self.redis.stop()
                self.postgres.stop()
            lock.release()

    def keep(self) -> None:
        self._kept.touch()

    def unkeep(self) -> None:
        self._kept.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        lock = FileLock(self._change)
        lock.hold()
        try:
            yield
        finally:
            lock.release()


@contextlib.contextmanager
def shared_services(folder: DataFolder, env: Mapping[str, str]) -> Iterator[ServiceUrls]:
    services = SharedServices(folder, env)
    try:
        yield services.start()
    finally:
        # A second Ctrl-C may not interrupt the clean-up.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        services.stop()


def services_up(folder: DataFolder, env: Mapping[str, str]) -> int:
    """For a developer's own pytest runs: `eval "$(make -s services-up)"`."""
    services = SharedServices(folder, env)
    services.keep()
    with contextlib.redirect_stdout(sys.stderr):  # what the shell is to read stays alone
        needs = dict.fromkeys((Need.POSTGRES, Need.REDIS), True)
        install_missing(folder.logs / "apt.log", needs)
        urls = services.start()
    for name, value in urls.as_environment().items():
        say(f"export {name}='{value}'")
    services.stop()
    return 0


def services_down(folder: DataFolder, env: Mapping[str, str]) -> int:
    services = SharedServices(folder, env)
    services.unkeep()
    services.stop()
    return 0
