"""A PostgreSQL server with PostGIS in a folder of the project's own."""

import re
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

from dev.folder import write_private
from dev.private_service import PrivateService, pid_from
from dev.processes import start_process
from dev.sql import run_sql, without_postgres_variables
from dev.terminal import SetupError

ROLE = "auspex"
DATABASE = "auspex"
LOCALE = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # No Unix socket: its path may be 107 bytes at most, which a deep project folder exceeds.
    "unix_socket_directories": "",
    "max_connections": "300",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}
# A test database outlives no crash, so nothing waits for the disk.
FAST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "jit": "off",
}


class PrivatePostgres(PrivateService):
    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # fast shutdown: roll back, disconnect, checkpoint

    @property
    def url(self) -> str:
        return self.database_url(DATABASE)

    def database_url(self, database: str) -> str:
        return f"postgresql://{ROLE}:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def data(self) -> Path:
        return self.home / "data"

    def prepare(self) -> None:
        if (self.data / "PG_VERSION").is_file():
            return
        draft = self.home / "data.new"  # renamed when complete: initdb can be interrupted
        shutil.rmtree(draft, ignore_errors=True)
        password_file = self.home / "initial-password"
        write_private(password_file, self.password)
        self.give(password_file)
        try:
            self._initdb(draft, password_file)
        finally:
            password_file.unlink(missing_ok=True)
        draft.rename(self.data)

    def _initdb(self, draft: Path, password_file: Path) -> None:
        command = [
            str(self._program("initdb")),
            f"--pgdata={draft}",
            f"--username={ROLE}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            f"--locale={LOCALE}",
        ]
        if not self.durable:
            command.append("--no-sync")
        with self.log.open("ab") as log:
            code = start_process(
                command, output=log, cwd=self.home, account=self.account, env=_plain_environment()
            ).wait()
        if code != 0:
            raise SetupError("PostgreSQL could not make its data folder", self.log)

    def spawn(self) -> subprocess.Popen[bytes]:
        settings = SETTINGS | {"port": str(self.port)} | ({} if self.durable else FAST_SETTINGS)
        command = [str(self._program("postgres")), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("wb") as log:
            return start_process(
                command,
                output=log,
                cwd=self.home,
                env=_plain_environment(),
                account=self.account,
                dies_with_us=self.stop_signal if self.attached else None,
            )

    def answers(self) -> bool:
        """The server writes its own state into the eighth line of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text(errors="replace").splitlines()
        except OSError:
            return False
        expected = str(self.process.pid) if self.process else str(self.running_pid())
        return len(lines) >= 8 and lines[0] == expected and lines[7].strip() == "ready"

    def running_pid(self) -> int | None:
        return pid_from(self.data / "postmaster.pid", self.data, "postgres")

    def finish_start(self) -> None:
        known = self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'")
        if not known:
            self.sql(f'CREATE DATABASE "{DATABASE}"')

    def sql(self, statement: str) -> str:
        """Run one statement in the `postgres` database; its rows as text."""
        return run_sql(str(self._program("psql")), self.database_url("postgres"), statement)

    def _program(self, program: str) -> Path:
        """From the version that made the data folder: a newer server refuses an older's data."""
        found = postgis_servers()
        version = self.data / "PG_VERSION"
        if not version.is_file():
            return found[max(found)] / program
        major = int(version.read_text(encoding="ascii").split(".", 1)[0])
        if major not in found:
            raise SetupError(
                f"{self.data} was made by PostgreSQL {major}, and here are"
                f" {sorted(found)} with PostGIS. Install that version with its PostGIS package,"
                " or delete the folder to start with empty data."
            )
        return found[major] / program


def _plain_environment() -> dict[str, str]:
    return without_postgres_variables() | {"LC_ALL": LOCALE}


@cache
def postgis_servers() -> dict[int, Path]:
    """Folder of the programs by major version, for the installed servers that have PostGIS."""
    folders = {path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")}
    if on_path := shutil.which("postgres"):
        folders.add(Path(on_path).resolve().parent)
    found: dict[int, Path] = {}
    for folder in folders:
        if (folder / "initdb").exists() and (major := _major_with_postgis(folder)) is not None:
            found[major] = folder
    return found


def _major_with_postgis(folder: Path) -> int | None:
    config = folder / "pg_config"
    if not config.exists():
        return None
    asked = subprocess.run(
        [str(config), "--version", "--sharedir"], capture_output=True, text=True, check=False
    )
    # One line an option, in the order of pg_config's own list rather than of the arguments.
    major = re.search(r"^PostgreSQL (\d+)", asked.stdout, re.MULTILINE)
    share = re.search(r"^/.*$", asked.stdout, re.MULTILINE)
    if major is None or share is None:
        return None
    return int(major[1]) if Path(share[0], "extension", "postgis.control").is_file() else None
