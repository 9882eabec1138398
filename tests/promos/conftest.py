from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from db.session import Database
from tasks.resources import Resources


@pytest.fixture
async def resources(database: Database, redis_address: str) -> AsyncIterator[Resources]:
    """What a worker or a scheduler works with."""
    redis = Redis.from_url(redis_address)
    yield Resources(database=database, redis=redis)
    await redis.aclose()
