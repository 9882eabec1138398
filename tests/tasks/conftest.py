"""A database with the demo jobs' table, a queue of the test's own, real workers and schedulers."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import dramatiq
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from db.session import Database
from tasks.broker import make_broker
from tasks.resources import Resources
from tests.tasks.bench import Bench
from tests.tasks.demo_jobs import TABLE


@pytest.fixture
def queue_name() -> str:
    return f"q{uuid4().hex[:12]}"


@pytest.fixture
async def marked(database: Database) -> Database:
    async with database.transaction() as session:
        await session.execute(text(TABLE))
    return database


@pytest.fixture
async def resources(marked: Database, redis_address: str) -> AsyncIterator[Resources]:
    redis = Redis.from_url(redis_address)
    yield Resources(marked, redis)
    await redis.aclose()


@pytest.fixture
def broker(redis_address: str) -> Iterator[dramatiq.Broker]:
    made = make_broker(redis_address)
    yield made
    made.close()


@pytest.fixture
async def bench(
    resources: Resources, database_url: str, redis_address: str, queue_name: str
) -> AsyncIterator[Bench]:
    made = Bench(resources, database_url, redis_address, queue_name)
    yield made
    await made.end_all()
