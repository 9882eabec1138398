"""Carries messages from the outbox to the broker."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import dramatiq
import structlog

from db.outbox import OUTBOX_CHANNEL
from db.queries.jobs import next_message_due
from db.transactions.outbox import (
    OutgoingMessage,
    claim_messages,
    mark_dispatched,
    release_messages,
)
from tasks.broker import send
from tasks.connections import own_connection, ping
from tasks.failures import error_text
from tasks.resources import Resources

log = structlog.get_logger(__name__)

BATCH = 100
POLL_SECONDS = 1.0
"""Notifications only save waiting: a lost one costs this much, not the message."""

PING_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 5.0


class Relay:
    """Several may run: each message is claimed by one. Sends in a thread of its own, the only one,
    because a RabbitMQ connection belongs to its thread."""

    def __init__(self, resources: Resources, broker: dramatiq.Broker, queue_name: str) -> None:
        self._resources = resources
        self._broker = broker
        self._queue_name = queue_name
        self._woken = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="relay")

    async def run(self) -> None:
        """Until cancelled. A message claimed but not marked then is sent again after its lease."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen())
                group.create_task(self._relay())
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _relay(self) -> None:
        pause = 0.0
        while True:
            self._woken.clear()
            try:
                claimed = await self._relay_batch()
                if claimed < BATCH:
                    await self._wait_for_work()
                pause = 0.0
            except Exception as error:  # noqa: BLE001 - PostgreSQL or the broker is down: wait
                pause = min(max(pause * 2, 0.25), LONGEST_PAUSE_SECONDS)
                log.warning("relay.interrupted", error=error_text(error), pause_seconds=pause)
                await asyncio.sleep(pause)

    async def _relay_batch(self) -> int:
        """How many messages it claimed. Raises what the broker raised, when all is written down."""
        async with self._resources.database.transaction() as session:
            messages = await claim_messages(session, self._resources.now(), BATCH)
        if not messages:
            return 0
        loop = asyncio.get_running_loop()
        sent, error = await loop.run_in_executor(self._thread, self._send, messages)
        now = self._resources.now()
        async with self._resources.database.transaction() as session:
            await mark_dispatched(session, [message.id for message in messages[:sent]], now)
            await release_messages(session, [message.id for message in messages[sent:]], now)
        if error is not None:
            raise error
        return len(messages)

    def _send(self, messages: Sequence[OutgoingMessage]) -> tuple[int, Exception | None]:
        for sent, message in enumerate(messages):
            try:
                send(self._broker, self._queue_name, message.actor, message.job_id)
            except Exception as error:  # noqa: BLE001 - handed back: the rest stays in the outbox
                return sent, error
        return len(messages), None

    async def _wait_for_work(self) -> None:
        async with self._resources.database.read() as reader:
            due = await next_message_due(reader)
        seconds = POLL_SECONDS
        if due is not None:
            until_due = (due - self._resources.now()).total_seconds()
            seconds = min(max(until_due, 0.0), POLL_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def _listen(self) -> None:
        while True:
            try:
                async with own_connection(self._resources.database) as connection:
                    await connection.add_listener(OUTBOX_CHANNEL, lambda *_: self._woken.set())
                    while True:
                        await asyncio.sleep(PING_SECONDS)
                        await ping(connection)
            except Exception as error:  # noqa: BLE001 - polling goes on meanwhile
                log.warning("relay.deaf", error=error_text(error))
            await asyncio.sleep(POLL_SECONDS)
