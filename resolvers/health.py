"""How the server is, for people and for watchers."""

import asyncio

import strawberry
from sqlalchemy import text

from schema.edge.context import Info
from schema.edge.fields import PUBLIC, query
from schema.edge.services import Services
from schema.health import Health, RateLimit

PROBE_SECONDS = 1.0


async def database_answers(services: Services) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS), services.database.read() as reader:
            await reader.execute(text("SELECT 1"))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it does not answer
        return False
    return True


async def redis_answers(services: Services) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await services.redis.ping()
    except Exception:  # noqa: BLE001 - the same
        return False
    return True


@strawberry.type
class HealthQuery:
    @query(access=PUBLIC, description="Whether the parts that the API needs answer.")
    async def health(self, info: Info) -> Health:
        services = info.context.services
        database, redis = await asyncio.gather(database_answers(services), redis_answers(services))
        return Health(
            status="ok" if database and redis else "degraded",
            name=services.policy.app_name,
            version=services.policy.version,
            database=database,
            redis=redis,
            mock_models=services.champions.mocks(),
        )

    @query(access=PUBLIC, description="What is left of the caller's budget of cost points.")
    async def rate_limit(self, info: Info) -> RateLimit:
        context = info.context
        left = await context.services.limiter.peek(
            "budget", await context.caller(), context.policy.budget_per_minute, 60
        )
        return RateLimit(
            limit=left.limit, cost=context.spent, remaining=left.remaining, reset_at=left.reset_at
        )
