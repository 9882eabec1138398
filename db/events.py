"""News between processes over Redis pub/sub: one connection a process, routed in memory.

An event says that something changed, never what: whoever hears it reads the truth from PostgreSQL.
A lost event therefore costs latency, not correctness.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

CHANNEL_PREFIX = "auspex:"
RECONNECT_SECONDS = 1.0
QUEUE_LIMIT = 100
"""Events a slow subscriber may lag behind; older ones are dropped, it re-reads state anyway."""


def training_topic(run_id: object) -> str:
    return f"training:{run_id}"


def stock_topic(store_product_id: int) -> str:
    """Units of a stock row were held, sold, given back or added: all its promos are touched."""
    return f"stock:{store_product_id}"


def promo_topic(promo_id: int) -> str:
    """A promo's status or terms changed."""
    return f"promo:{promo_id}"


def hold_topic(reservation_id: int) -> str:
    return f"hold:{reservation_id}"


def waitlist_topic(promo_id: int) -> str:
    """Somebody joined, left, or was served."""
    return f"waitlist:{promo_id}"


NOTIFICATIONS = "notifications"
"""New notices: the message is JSON, ids of people to the ids of theirs; empty after an outage."""


NOTICE = "notice:"


def notice_topic(user_id: UUID, notification_id: int) -> str:
    """One new notice, among the topics that a transaction hands out: nobody listens to it by this
    name, `publish_all` gathers such into one message of NOTIFICATIONS."""
    return f"{NOTICE}{user_id}:{notification_id}"


async def publish(redis: "Redis", topic: str, message: str = "") -> None:
    """Tells every process. Called after the commit; a Redis that is down is not an error here."""
    try:
        await redis.publish(CHANNEL_PREFIX + topic, message)
    except (RedisError, OSError) as error:
        log.warning("events.publish_failed", topic=topic, error=str(error))


async def publish_all(redis: "Redis", topics: Iterable[str]) -> None:
    """One round trip for many topics; the same promises as `publish`."""
    asked = set(topics)
    notices = [topic for topic in asked if topic.startswith(NOTICE)]
    named = sorted(asked.difference(notices))
    if notices:
        parts = (topic.split(":") for topic in notices)
        await publish_notifications(redis, [(UUID(user), int(row)) for _, user, row in parts])
    if not named:
        return
    try:
        async with redis.pipeline(transaction=False) as pipeline:
            for topic in named:
                pipeline.publish(CHANNEL_PREFIX + topic, "")
            await pipeline.execute()
    except (RedisError, OSError) as error:
        log.warning("events.publish_failed", topics=len(named), error=str(error))


async def publish_notifications(redis: "Redis", written: Iterable[tuple[UUID, int]]) -> None:
    """Tells of new notices, (user, notification id), in one message; promises as `publish`."""
    by_user: defaultdict[str, list[int]] = defaultdict(list)
    for user_id, notification_id in written:
        by_user[str(user_id)].append(notification_id)
    if by_user:
        await publish(redis, NOTIFICATIONS, orjson.dumps(by_user).decode())


def notified_users(message: str) -> set[UUID] | None:
    """Whom a message of NOTIFICATIONS is about; None: it doesn't say, so it may be anybody."""
    try:
        return {UUID(user_id) for user_id in orjson.loads(message)}
    except (ValueError, TypeError):
        return None


class Events:
    """Routes what arrives on this process's one subscription to the listeners of each topic."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._listeners: defaultdict[str, set[asyncio.Queue[str]]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._receive_forever())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[asyncio.Queue[str]]:
        """Messages of the topic from now on, in a bounded queue."""
        queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_LIMIT)
        self._listeners[topic].add(queue)
        try:
            yield queue
        finally:
            self._listeners[topic].discard(queue)
            if not self._listeners[topic]:
                del self._listeners[topic]

    async def _receive_forever(self) -> None:
        while True:
            try:
                await self._receive()
            except (RedisError, OSError) as error:
                log.warning("events.connection_lost", error=str(error))
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _receive(self) -> None:
        async with self._redis.pubsub() as pubsub:
            # A pattern, not a channel a topic: subscribing costs no round trip to Redis.
            await pubsub.psubscribe(CHANNEL_PREFIX + "*")
            async for message in pubsub.listen():
                if message["type"] == "psubscribe":
                    self._wake_all()
                elif message["type"] == "pmessage":
                    topic = message["channel"].decode().removeprefix(CHANNEL_PREFIX)
                    self._route(topic, message["data"].decode())

    def _wake_all(self) -> None:
        """What was published while there was no connection is lost: everybody looks again."""
        for topic in list(self._listeners):
            self._route(topic, "")

    def _route(self, topic: str, data: str) -> None:
        for queue in self._listeners.get(topic, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(data)
