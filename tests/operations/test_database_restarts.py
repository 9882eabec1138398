"""A database that hangs up on idle connections costs no client an error."""

import asyncio

from sqlalchemy import text

from db.session import Database, create_engine
from tests.databases import execute


async def test_connections_that_the_server_closed_are_replaced_unseen(database_url: str) -> None:
    database = Database(create_engine(database_url, pool_size=4))
    pids = await asyncio.gather(*[backend(database) for _ in range(4)])
    for pid in set(pids):
        await execute(f"SELECT pg_terminate_backend({pid}, 30000)")
    await asyncio.sleep(0.2)  # the driver hears of it from the event loop
    async with database.read() as reader:
        assert (await reader.execute(text("SELECT 1"))).scalar_one() == 1
    async with database.transaction() as session:
        assert (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one() not in pids
    await database.close()


async def backend(database: Database) -> int:
    async with database.read() as reader:
        return int(
            (await reader.execute(text("SELECT pg_backend_pid(), pg_sleep(0.2)"))).scalar_one()
        )
