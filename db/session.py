"""Connections: short reads, and one transaction a business operation."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
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
    idle_seconds: float | None = None,
    lock_seconds: float | None = None,
) -> AsyncEngine:
    """`statement_seconds`: a server that is silent for so long counts as away (None: wait).

    `idle_seconds`: the server ends a session that says nothing for so long in the middle of a
    transaction, and with it the locks it has. `lock_seconds`: a statement that waits longer for a
    lock fails. None: whatever the server is set to.
    """
    url, connect_args = asyncpg_url(address)
    limits = {"idle_in_transaction_session_timeout": idle_seconds, "lock_timeout": lock_seconds}
    milliseconds = {
        name: str(round(seconds * 1000)) for name, seconds in limits.items() if seconds is not None
    }
    engine = create_async_engine(
        url,
        connect_args=connect_args
        | {
            "server_settings": {"timezone": "UTC", **milliseconds},
            "timeout": CONNECT_SECONDS,
            "command_timeout": statement_seconds,
        },
        pool_timeout=CONNECT_SECONDS,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_recycle=recycle_seconds,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_dead)
    return engine


def _refuse_dead(connection: Any, record: Any, proxy: Any) -> None:
    """A restart of the database leaves dead connections in the pool; no client should meet one.

    The driver knows when the server has hung up. A ping (`pool_pre_ping`) would ask: three round
    trips for every read and every transaction, for what costs none here. A server that vanished
    without a word is found by the statement's time-out.
    """
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError("the server has closed the connection")


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


AWAY_STATES = frozenset({"57P01", "57P02", "57P03", "53300", "55P03", "25P03"})
"""SQLSTATEs of a server that ends, starts, is full, and of who waited or was silent too long."""


def is_outage(error: BaseException) -> bool:
    """Whether a server is away: worth a line in the log, not a traceback.

    Or too busy for now: the same request may succeed in a moment.
    """
    if getattr(getattr(error, "orig", error), "sqlstate", None) in AWAY_STATES:
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, (InterfaceError, OperationalError))
    return isinstance(
        error, (OSError, PoolTimeout, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)
    )
