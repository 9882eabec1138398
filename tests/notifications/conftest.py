"""Workers for rounds, in this process."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from db.session import Database
from tests.notifications.rounds import Workers


@pytest.fixture
async def workers(database: Database, redis_address: str) -> AsyncIterator[Workers]:
    redis = Redis.from_url(redis_address)
    yield Workers(database, redis)
    await redis.aclose()
