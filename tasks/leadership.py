"""One of several schedulers acts: the one whose session holds an advisory lock."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from db.session import Database, is_outage
from tasks.connections import STATEMENT_SECONDS, Connection, own_connection, ping
from tasks.failures import error_text

log = structlog.get_logger(__name__)

LOCK_KEY = 0x6175_7370_6578  # "auspex"; an advisory lock is the database's own
CAMPAIGN_SECONDS = 1.0
PING_SECONDS = 2.0
IDLE_LIMIT_SECONDS = 8
"""More than a ping may take; a frozen leader is out of office after that."""


async def lead(database: Database, act: Callable[[], Awaitable[None]]) -> None:
    """Runs `act` whenever this process leads, cancels it when it no longer does. Never returns.

    Two leaders for a moment (a frozen one that thaws) do no harm: whatever they do is claimed
    row by row.
    """
    while True:
        try:
            async with own_connection(database, IDLE_LIMIT_SECONDS) as connection:
                await _win(connection)
                log.info("scheduler.leads")
                await _act_while_connected(connection, act)
        except Exception as error:
            # Whatever it was, the next election is open to this process too.
            if not is_outage(error):
                log.exception("scheduler.leadership_lost")
            else:
                log.warning("scheduler.leadership_lost", error=error_text(error))
        await asyncio.sleep(CAMPAIGN_SECONDS)


async def _win(connection: Connection) -> None:
    # Asked again and again: a statement that waits for the lock holds a snapshot meanwhile, and
    # VACUUM can't clean up behind it.
    statement = "SELECT pg_try_advisory_lock($1)"
    while True:
        if await connection.fetchval(statement, LOCK_KEY, timeout=STATEMENT_SECONDS):
            return
        await asyncio.sleep(CAMPAIGN_SECONDS)


async def _act_while_connected(connection: Connection, act: Callable[[], Awaitable[None]]) -> None:
    acting = asyncio.ensure_future(act())
    watching = asyncio.create_task(_watch(connection))
    try:
        await asyncio.wait({acting, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        acting.cancel()
        watching.cancel()
        results = await asyncio.gather(acting, watching, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _watch(connection: Connection) -> None:
    """Raises as soon as the connection is gone, and if the server no longer answers."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    while True:
        try:
            await asyncio.wait_for(lost.wait(), PING_SECONDS)
        except TimeoutError:
            await ping(connection)
        else:
            raise ConnectionError("the connection that holds the lock was closed")
