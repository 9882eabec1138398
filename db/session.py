"""Connections: short reads, and one transaction a business operation."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

Reader = AsyncConnection | AsyncSession
"""What a query needs: anything that can execute a statement."""


class InvalidDatabaseUrl(ValueError):
    """The text is not a PostgreSQL address."""


def asyncpg_url(address: str) -> tuple[URL, dict[str, Any]]:
    """The address rewritten for asyncpg, and the connect arguments that its query part stands for.

    Accepts what hosting providers hand out: `postgres://`, any `postgresql+driver://`, and
    libpq's `sslmode` (asyncpg takes an `ssl` argument instead and refuses `sslmode`).

    Raises InvalidDatabaseUrl, whose message never repeats the address: it may hold a password.
    """
    try:
        url = make_url(address)
    except Exception as error:
        raise InvalidDatabaseUrl("is not a database URL") from error
    if url.drivername.split("+")[0] not in {"postgres", "postgresql"}:
        raise InvalidDatabaseUrl("must start with postgresql://")
    query = dict(url.query)
    mode = query.pop("sslmode", None)
    query.pop("channel_binding", None)  # asked for by some providers, unknown to asyncpg
    connect_args: dict[str, Any] = {}
    if mode is not None:
        connect_args["ssl"] = _ssl_argument(str(mode))
    return url.set(drivername="postgresql+asyncpg", query=query), connect_args


def _ssl_argument(mode: str) -> ssl.SSLContext | str | bool:
    if mode == "disable":
        return False
    if mode in {"allow", "prefer", "require"}:
        return mode
    if mode in {"verify-ca", "verify-full"}:
        context = ssl.create_default_context()
        context.check_hostname = mode == "verify-full"
        return context
    raise InvalidDatabaseUrl(f"has an unknown sslmode {mode!r}")


CONNECT_SECONDS = 5.0


def create_engine(
    address: str,
    *,
    pool_size: int = 10,
    max_overflow: int = 10,
    recycle_seconds: int = -1,
    statement_seconds: float | None = None,
) -> AsyncEngine:
    """`statement_seconds`: a server that is silent for so long counts as away (None: wait)."""
    url, connect_args = asyncpg_url(address)
    return create_async_engine(
        url,
        connect_args=connect_args
        | {
            "server_settings": {"timezone": "UTC"},
            "timeout": CONNECT_SECONDS,
            "command_timeout": statement_seconds,
        },
        pool_timeout=CONNECT_SECONDS,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_recycle=recycle_seconds,
        # A database restart leaves dead connections in the pool. A ping on check-out costs one
        # round trip (0.1 ms on the same machine) and spares every client of them an error.
        pool_pre_ping=True,
    )


class Database:
    """Hands out short-lived connections; sibling fields run concurrently and never share one."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        # A read is one statement. Without AUTOCOMMIT it would pay BEGIN and ROLLBACK as well.
        self._reads = engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for column queries. Each statement sees its own snapshot."""
        async with self._reads.connect() as connection:
            yield connection

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose every statement is a transaction of its own, for writes that are one
        statement: BEGIN and COMMIT would be two round trips more."""
        async with self._reads.connect() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One unit of work: committed when the block ends, rolled back when it raises."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def close(self) -> None:
        await self.engine.dispose()


def is_outage(error: BaseException) -> bool:
    """Whether a server is away: worth a line in the log, not a traceback."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, (InterfaceError, OperationalError))
    return isinstance(
        error, (OSError, PoolTimeout, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)
    )
