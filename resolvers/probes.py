"""Plain HTTP for machines that watch: alive, ready, figures."""

import asyncio
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Gauge,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db.queries.jobs import queue_figures
from resolvers.health import PROBE_SECONDS, database_answers, redis_answers
from schema.edge.services import Services

HEADS = frozenset(
    ScriptDirectory.from_config(Config(Path(__file__).parent.parent / "alembic.ini")).get_heads()
)


async def healthz(request: Request) -> Response:
    """The process lives. Says nothing of what it depends on: a restart would not mend that."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """The process can serve: 503 with the reasons until it can."""
    services: Services = request.app.state.services
    parts = {
        "database": await database_answers(services),
        "redis": await redis_answers(services),
    }
    parts["migrations"] = parts["database"] and await _migrated(services)
    ready = all(parts.values())
    return JSONResponse(
        {"status": "ok" if ready else "unavailable", **parts}, 200 if ready else 503
    )


async def _migrated(services: Services) -> bool:
    try:
        async with services.database.read() as reader:
            rows = await reader.execute(text("SELECT version_num FROM alembic_version"))
            return frozenset(rows.scalars()) == HEADS
    except Exception:  # noqa: BLE001 - no table: never migrated
        return False


JOBS = Gauge("auspex_jobs", "Jobs by state.", ["state"], multiprocess_mode="mostrecent")
QUEUE_AGE = Gauge(
    "auspex_queue_age_seconds",
    "How long the job waits that has been due longest.",
    multiprocess_mode="mostrecent",
)
UNSENT = Gauge(
    "auspex_outbox_unsent", "Messages the relay has to send.", multiprocess_mode="mostrecent"
)


async def _measure_queue(services: Services) -> None:
    try:
        async with asyncio.timeout(PROBE_SECONDS), services.database.read() as reader:
            figures = await queue_figures(reader, services.clock())
    except Exception:  # noqa: BLE001 - the other figures are still worth having
        return
    for state in ("queued", "running", "failed"):
        JOBS.labels(state).set(getattr(figures, state))
    QUEUE_AGE.set(figures.oldest_due_seconds)
    UNSENT.set(figures.unsent_messages)


async def metrics(request: Request) -> Response:
    await _measure_queue(request.app.state.services)
    registry: CollectorRegistry = REGISTRY
    if request.app.state.several_processes:  # one port, and each has figures of its own
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
