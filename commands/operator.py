"""What commands share: settings, logs and a database for the time of one command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from db.session import Database, create_engine
from logs import configure_logs
from settings import Settings, load_or_exit


def settings_with_logs() -> Settings:
    settings = load_or_exit()
    configure_logs(
        app_name=settings.app_name, level=settings.log_level, readable=not settings.production
    )
    return settings


@asynccontextmanager
async def open_database(
    settings: Settings, connections: int = 2, idle_seconds: float | None = None
) -> AsyncIterator[Database]:
    """`idle_seconds`: see `create_engine`."""
    database = Database(
        create_engine(settings.database_url, pool_size=connections, idle_seconds=idle_seconds)
    )
    try:
        yield database
    finally:
        await database.close()


def now() -> datetime:
    return datetime.now(UTC)
