"""Alembic's entry point: an entry point of ours too, so it reads the settings."""

import asyncio

from alembic import context
from geoalchemy2 import alembic_helpers
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.models import Table
from db.session import create_engine
from settings import load_settings

# A migration that waits for a lock blocks everybody behind it: it gives up instead.
LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "15min"


def include_object(
    item: object, name: str | None, kind: str, reflected: bool, compare_to: object
) -> bool:
    """PostGIS brings tables of its own; whatever is in the database and not ours is left alone."""
    return not (kind == "table" and reflected and compare_to is None)


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        include_object=include_object,
        process_revision_directives=alembic_helpers.writer,
        render_item=alembic_helpers.render_item,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_online() -> None:
    engine: AsyncEngine = create_engine(load_settings().database_url, pool_size=1)
    async with engine.connect() as connection:
        await connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        await connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
        await connection.commit()
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(run_online())
