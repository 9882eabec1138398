"""Real databases for tests: one migrated template a run, a clone a test."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg

ROOT = Path(__file__).parent.parent


def admin_url() -> str:
    """PostgreSQL of the tests: `make test` starts one and sets this."""
    url = os.environ.get("TEST_DATABASE_URL")
    if not url:
        raise RuntimeError("TEST_DATABASE_URL is not set: run `make test`, or `make services-up`")
    return url


def redis_url(number: int) -> str:
    url = os.environ.get("TEST_REDIS_URL")
    if not url:
        raise RuntimeError("TEST_REDIS_URL is not set: run `make test`, or `make services-up`")
    return f"{url.rsplit('/', 1)[0] if url.count('/') > 2 else url}/{number}"


def named(url: str, database: str) -> str:
    """The same server, another database."""
    head, _, tail = url.partition("?")
    return head.rsplit("/", 1)[0] + f"/{database}" + (f"?{tail}" if tail else "")


async def execute(statement: str) -> None:
    connection = await asyncpg.connect(admin_url())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def make_template(name: str) -> None:
    await execute(f'CREATE DATABASE "{name}"')
    environment = {**os.environ, "DATABASE_URL": named(admin_url(), name), "DEBUG": "true"}
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)


async def drop(name: str) -> None:
    await execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@asynccontextmanager
async def cloned(template: str) -> AsyncIterator[str]:
    """The address of a fresh copy of the template, dropped afterwards."""
    name = f"test_{uuid4().hex[:16]}"
    await execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield named(admin_url(), name)
    finally:
        await drop(name)
