"""New notices to the open subscriptions of a process: one listener, one query a message.

A stream first reads what it has missed, then goes live. Live, it is given rows by the feed, which
reads them for all listening people at once, from the ids that they have seen: so a lost message is
made good by the next one, or by the reading every few seconds. What one person's streams are given
is in the order of ids and has no holes, because a person's ids become visible in their order (see
`db/transactions/notifications.py`).
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from db.events import NOTIFICATIONS, Events, notified_users
from db.queries.notifications import NotificationRow, latest_id, missed, newer_than
from db.session import Database, is_outage
from schema.edge.services import Services

log = structlog.get_logger(__name__)

REREAD_SECONDS = 5.0
"""A lost message costs a subscriber at most so long."""
PAUSE_SECONDS = 1.0
PAGE = 100
MOST_WAITING = 100
"""Rows that a slow reader may leave waiting; beyond, it reads them from the database again."""

Kinds = tuple[str, ...] | None


class NotificationStream:
    """One open subscription, as the feed sees it.

    Not live: it reads by itself; what comes meanwhile only makes it `stale`, so that it reads once
    more. Live: it waits for what the feed gives it. `tail`: the last id it was given, or passed
    over.
    """

    def __init__(self, user_id: UUID, kinds: Kinds) -> None:
        self.user_id = user_id
        self.kinds = kinds
        self.live = False
        self.stale = True
        self.tail = 0
        self._waiting: deque[NotificationRow] = deque()
        self._woken = asyncio.Event()

    def go_live(self, tail: int) -> None:
        self.live, self.tail = True, tail

    def give(self, rows: list[NotificationRow], *, all_of_them: bool) -> None:
        for row in rows:
            if row.id > self.tail:
                self.tail = row.id
                if self.kinds is None or row.kind in self.kinds:
                    self._waiting.append(row)
        if not all_of_them or len(self._waiting) > MOST_WAITING:
            self._waiting.clear()
            self.live, self.stale = False, True
        if self._waiting or not self.live:
            self._woken.set()

    async def take(self) -> list[NotificationRow]:
        """What was given, once there is something; nothing if the stream is no longer live."""
        await self._woken.wait()
        self._woken.clear()
        rows = list(self._waiting)
        self._waiting.clear()
        return rows


class NotificationFeed:
    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events
        self._streams: dict[UUID, set[NotificationStream]] = {}
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def follow(
        self, user_id: UUID, after: int | None, kinds: Kinds
    ) -> AsyncGenerator[NotificationRow, None]:
        """The person's notices after this id (None: from now on), each once, oldest first."""
        async with self._joined(NotificationStream(user_id, kinds)) as stream:
            if after is None:
                stream.stale = False
                after = await self._latest(user_id)
            cursor = after
            while True:
                while stream.stale:
                    stream.stale = False
                    rows = await self._missed(stream, cursor)
                    for row in rows:
                        cursor = row.id
                        yield row
                    stream.stale |= len(rows) == PAGE
                stream.go_live(cursor)
                while stream.live:
                    for row in await stream.take():
                        cursor = row.id
                        yield row

    @asynccontextmanager
    async def _joined(self, stream: NotificationStream) -> AsyncIterator[NotificationStream]:
        """Returns once the process listens: what is read from now on has no gap to what comes."""
        self._streams.setdefault(stream.user_id, set()).add(stream)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            await self._listening.wait()
            yield stream
        finally:
            streams = self._streams[stream.user_id]
            streams.discard(stream)
            if not streams:
                del self._streams[stream.user_id]
            if not self._streams:
                self._task.cancel()
                self._task = None
                self._listening.clear()
                _feeds.pop(self._events, None)

    async def _latest(self, user_id: UUID) -> int:
        async with self._database.read() as reader:
            return await latest_id(reader, user_id)

    async def _missed(self, stream: NotificationStream, cursor: int) -> list[NotificationRow]:
        async with self._database.read() as reader:
            return await missed(
                reader, stream.user_id, after_id=cursor, kinds=stream.kinds, limit=PAGE
            )

    async def _run(self) -> None:
        async with self._events.listen(NOTIFICATIONS) as news:
            self._listening.set()
            while True:
                try:
                    await self._listen(news)
                except Exception as error:
                    # Everybody is read anew afterwards, so nothing is missed.
                    if is_outage(error):
                        log.warning("notifications.feed_interrupted", error=type(error).__name__)
                    else:
                        log.exception("notifications.feed_failed")
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self, news: asyncio.Queue[str]) -> None:
        """Never returns; raises what reading raises."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            users = await whom(news, due)
            if users is None:
                due = clock() + REREAD_SECONDS
            await self._deliver(users)

    async def _deliver(self, users: set[UUID] | None) -> None:
        """Reads what is new for these people (None: for all who listen), and hands it on."""
        named = self._streams.keys() if users is None else users & self._streams.keys()
        seen: dict[UUID, int] = {}
        for user_id in named:
            for stream in self._streams[user_id]:
                if stream.live:
                    seen[user_id] = min(stream.tail, seen.get(user_id, stream.tail))
                else:
                    stream.stale = True
        if not seen:
            return
        async with self._database.read() as reader:
            found = await newer_than(reader, seen, PAGE)
        for user_id, rows in found.items():
            for stream in self._streams.get(user_id, ()):
                if stream.live:
                    stream.give(rows, all_of_them=len(rows) < PAGE)


async def whom(news: asyncio.Queue[str], deadline: float) -> set[UUID] | None:
    """Whom the waiting messages are about. None for everybody: a message doesn't say, or nothing
    came until the deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            users = notified_users(await news.get())
    except TimeoutError:
        return None
    while users is not None and not news.empty():
        more = notified_users(news.get_nowait())
        users = None if more is None else users | more
    return users


_feeds: dict[Events, NotificationFeed] = {}


def feed_of(services: Services) -> NotificationFeed:
    """The one of this process: made for its first listener, forgotten with the last one."""
    feed = _feeds.get(services.events)
    if feed is None:
        feed = _feeds[services.events] = NotificationFeed(services.database, services.events)
    return feed
