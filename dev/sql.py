"""One SQL statement through psql, for the little that happens before the application is there."""

import os
import secrets
import subprocess
from urllib.parse import unquote, urlsplit, urlunsplit

from dev.terminal import SetupError


def run_sql(psql: str, url: str, statement: str) -> str:
    """The rows as text. The address goes through the environment: a command line is public."""
    parts = urlsplit(url)
    address = {
        "PGHOST": parts.hostname or "127.0.0.1",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.strip("/"),
    }
    done = subprocess.run(
        [psql, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement],
        env={**without_postgres_variables(), **{k: v for k, v in address.items() if v}},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SetupError(f"PostgreSQL refused: {done.stderr.strip()}")
    return done.stdout.strip()


def create_scratch_database(psql: str, url: str) -> str:
    """The address of a new, empty database on the same server."""
    name = f"scratch_{secrets.token_hex(6)}"
    run_sql(psql, url, f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def drop_database(psql: str, server_url: str, url: str) -> None:
    run_sql(psql, server_url, f"DROP DATABASE IF EXISTS {urlsplit(url).path.strip('/')}")


def without_postgres_variables() -> dict[str, str]:
    """The caller's PG* variables would steer our server or client elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
