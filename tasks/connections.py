"""Connections outside the pool, for what lives as long as a session: LISTEN and advisory locks.

They need the server itself or a pooler in session mode; PgBouncer in transaction mode loses both.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from db.session import Database

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STATEMENT_SECONDS = 3.0


@asynccontextmanager
async def own_connection(
    database: Database, idle_limit_seconds: int | None = None
) -> AsyncIterator[Connection]:
    """A connection taken out of the pool and closed at the end.

    `idle_limit_seconds`: the server itself ends a session that is silent for so long. Without it
    the session of a frozen process, or of a machine that lost its power, lives on for hours.
    """
    async with database.engine.connect() as pooled:
        connection = (await pooled.get_raw_connection()).driver_connection
        await pooled.run_sync(lambda attached: attached.detach())
        assert isinstance(connection, asyncpg.Connection)  # noqa: S101 - the only driver we use
        if idle_limit_seconds is not None:
            await connection.execute(
                f"SET idle_session_timeout = '{idle_limit_seconds}s'", timeout=STATEMENT_SECONDS
            )
        yield connection


async def ping(connection: Connection) -> None:
    """Raises if the server doesn't answer within STATEMENT_SECONDS."""
    await connection.execute("SELECT 1", timeout=STATEMENT_SECONDS)
