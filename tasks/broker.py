"""The broker is a doorbell: it carries the id of a job, PostgreSQL knows the rest.

There are no retries, delays or results in it: those are rows (`db/transactions/jobs.py`).
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.jobs import JOBS, JobDefinition

SOCKET_SECONDS = 3
# Both measured against a worker killed with messages in hand. With dramatiq's defaults (recovery
# on 0.1 % of the commands, 60 s) they came back after 112 to 1,453 s, with these after 12 s.
HEARTBEAT_TIMEOUT_MS = 10_000
MAINTENANCE_ALWAYS = 1_000_000

RunJob = Callable[[JobDefinition, UUID], Coroutine[Any, Any, None]]


def make_broker(broker_url: str) -> dramatiq.Broker:
    """By the address's scheme: `redis://` (also `rediss`, `unix`) or `amqp://` (also `amqps`).

    Connects with its first command. No middleware but the event loop for async actors: AgeLimit
    and Retries would decide about jobs behind PostgreSQL's back, TimeLimit and
    ShutdownNotifications interrupt threads, and our handlers run in the event loop.
    """
    middleware: list[dramatiq.Middleware] = [AsyncIO()]
    if urlsplit(broker_url).scheme in {"amqp", "amqps"}:
        logging.getLogger("pika").setLevel(logging.WARNING)  # else 15 lines a connection
        # Without confirmation a message written into a dying connection counts as sent.
        return RabbitmqBroker(
            url=_bounded_amqp(broker_url), middleware=middleware, confirm_delivery=True
        )
    client = Redis.from_url(
        broker_url,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
        # One more try: after a restart of Redis the kept connections are dead.
        retry=Retry(NoBackoff(), 1),
    )
    return RedisBroker(  # type: ignore[no-untyped-call]
        client=client,
        middleware=middleware,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_ALWAYS,
    )


def _bounded_amqp(url: str) -> str:
    """pika reads its time-outs from the address; what the operator set there wins."""
    parts = urlsplit(url)
    options = {
        "socket_timeout": str(SOCKET_SECONDS),
        "stack_timeout": str(2 * SOCKET_SECONDS),
        "blocked_connection_timeout": str(SOCKET_SECONDS),
        "connection_attempts": "1",
    } | dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(query=urlencode(options)))


def declare_actors(broker: dramatiq.Broker, queue_name: str, run: RunJob) -> None:
    """One actor a declared job, so that dramatiq's logs name it."""
    for definition in JOBS.values():
        _declare(broker, queue_name, definition, run)


def _declare(
    broker: dramatiq.Broker, queue_name: str, definition: JobDefinition, run: RunJob
) -> None:
    async def perform(job_id: str) -> None:
        await run(definition, UUID(job_id))

    declare = dramatiq.actor(actor_name=definition.name, queue_name=queue_name, broker=broker)
    declare(perform)


def send(broker: dramatiq.Broker, queue_name: str, actor: str, job_id: UUID) -> None:
    """Blocks for seconds if the broker doesn't answer: not for the thread of an event loop."""
    broker.enqueue(
        dramatiq.Message(
            queue_name=queue_name, actor_name=actor, args=(str(job_id),), kwargs={}, options={}
        )
    )
