"""Waiting for somebody else to wait."""

import asyncio

from sqlalchemy import text

from db.session import Database


async def somebody_waits(database: Database) -> None:
    """Returns once a session waits for a lock of another."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(30), database.read() as reader:
        while not (await reader.execute(text(waiting))).scalar_one():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
