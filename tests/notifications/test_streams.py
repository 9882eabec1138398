"""New notices as they come: nothing twice, nothing missed, nobody else's (F4, FEATURES §3.5)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from starlette.requests import HTTPConnection
from strawberry.types import ExecutionResult

from db.events import NOTIFICATIONS, publish, publish_notifications
from db.models.notifications import NotificationKind
from db.queries.notifications import newer_than
from db.session import Database
from schema.edge import notification_feed
from schema.edge.context import Context
from schema.edge.ids import global_id
from schema.edge.notification_feed import NotificationStream, feed_of
from schema.edge.services import Services
from schema.root import schema
from tests.factories import right_now
from tests.notifications.rounds import make_person, promo_at_noon, tell
from tests.tasks.bench import eventually

ALL = """
subscription all($after: ID, $kinds: [NotificationKind!]) {
  notifications(after: $after, kinds: $kinds) { id kind title }
}
"""
PROMOS = "subscription promos($after: ID) { promoNotifications(after: $after) { id kind } }"
FAR = 3_600.0
LOW, READY = NotificationKind.LOW_BALANCE, NotificationKind.PREDICTION_READY


@pytest.fixture
def database(services: Services, application: object) -> Database:
    return services.database


@pytest.fixture(autouse=True)
def only_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives was brought by a message, unless the test says otherwise."""
    monkeypatch.setattr(notification_feed, "REREAD_SECONDS", FAR)


class Listening:
    """An open subscription of one person."""

    def __init__(self, results: Any, field: str) -> None:
        self._results = results
        self._field = field
        self._next: asyncio.Task[Any] = asyncio.create_task(anext(results))

    async def next(self) -> dict[str, Any]:
        result: ExecutionResult = await asyncio.wait_for(self._next, 20)
        self._next = asyncio.create_task(anext(self._results))
        assert not result.errors, result.errors
        assert result.data is not None
        found: dict[str, Any] = result.data[self._field]
        return found

    async def ids(self, count: int) -> list[str]:
        return [(await self.next())["id"] for _ in range(count)]

    async def fault(self) -> str:
        result = await asyncio.wait_for(self._next, 20)
        return str(result.errors[0].extensions["code"])

    async def close(self) -> None:
        self._next.cancel()
        await asyncio.gather(self._next, return_exceptions=True)
        await self._results.aclose()


@asynccontextmanager
async def listening(
    services: Services, user: UUID | None, query: str = ALL, **variables: Any
) -> AsyncIterator[Listening]:
    """Without `after`, once it is live."""
    headers = []
    if user is not None:
        token, _ = services.tokens.issue(user, right_now())
        headers = [(b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "websocket", "headers": headers, "client": ("127.0.0.1", 1)}
    context = Context(services, HTTPConnection(scope))
    results = await schema.stream(query, variable_values=variables, context_value=context)
    field = "promoNotifications" if query == PROMOS else "notifications"
    opened = Listening(results, field)
    try:
        if user is not None and "after" not in variables:
            await until_live(services, user)
        yield opened
    finally:
        await opened.close()


async def until_live(services: Services, user: UUID, streams: int = 1) -> None:
    async def live() -> bool:
        return sum(one.live for one in feed_of(services)._streams.get(user, ())) >= streams

    await eventually(live, what="the stream going live")


async def send(services: Services, user: UUID, kind: NotificationKind = READY, **of: Any) -> str:
    """A notice, written and published; its global id."""
    id_ = await tell(services.database, user, kind, now=right_now(), **of)
    assert id_ is not None
    await publish_notifications(services.redis, [(user, id_)])
    return global_id("Notification", id_)


async def write(database: Database, user: UUID, count: int = 1) -> list[str]:
    """Notices whose messages are lost."""
    made = [await tell(database, user, now=right_now()) for _ in range(count)]
    return [global_id("Notification", id_) for id_ in made]


async def test_a_stream_without_a_cursor_begins_now(services: Services, database: Database) -> None:
    person = await make_person(database)
    await send(services, person)
    async with listening(services, person) as stream:
        made = [await send(services, person) for _ in range(3)]
        assert await stream.ids(3) == made


async def test_what_was_missed_comes_first_exactly(services: Services, database: Database) -> None:
    person = await make_person(database)
    made = await write(database, person, 5)
    async with listening(services, person, after=made[1]) as stream:
        assert await stream.ids(3) == made[2:]
        live = await send(services, person)
        assert await stream.ids(1) == [live]
    raw = str(await tell(database, person))
    async with listening(services, person, after="0") as stream:
        assert await stream.ids(6) == [*made, live]
        assert (await stream.next())["id"] == global_id("Notification", raw)
        await until_live(services, person)
    async with listening(services, person, after=raw) as stream:
        await until_live(services, person)
        later = await send(services, person)
        assert await stream.ids(1) == [later]


async def test_what_was_missed_comes_whole_however_much_it_is(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_feed, "PAGE", 4)
    person = await make_person(database)
    made = await write(database, person, 12)
    async with listening(services, person, after="0") as stream:
        assert await stream.ids(12) == made
        await until_live(services, person)


async def test_what_comes_during_the_replay_follows_it_without_a_gap(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_feed, "PAGE", 3)
    person = await make_person(database)
    made = await write(database, person, 7)
    async with listening(services, person, after="0") as stream:
        for place in range(7):
            assert (await stream.next())["id"] == made[place]
            made.append(await send(services, person))
        assert await stream.ids(7) == made[7:]


async def test_writers_and_readers_at_once_lose_and_repeat_nothing(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_feed, "PAGE", 5)
    person = await make_person(database)
    made: list[str] = []

    async def sender() -> None:
        for _ in range(12):
            made.append(await send(services, person))  # noqa: PERF401 - others append meanwhile

    senders = asyncio.gather(*(sender() for _ in range(3)))
    async with AsyncExitStack() as opened:
        readers = []
        for _ in range(3):
            stream = await opened.enter_async_context(listening(services, person, after="0"))
            readers.append(asyncio.create_task(stream.ids(36)))
            await asyncio.sleep(0.02)
        await senders
        heard = await asyncio.gather(*readers)
    assert all(ids == heard[0] for ids in heard)
    assert sorted(heard[0]) == sorted(made)
    async with listening(services, person, after="0") as stream:
        assert await stream.ids(36) == heard[0]  # the order of ids


async def test_nobody_hears_of_anothers_notices(services: Services, database: Database) -> None:
    person, other = await make_person(database), await make_person(database)
    foreign = await write(database, other, 2)
    async with (
        listening(services, person, after="0") as stream,
        listening(services, person, after=foreign[0]) as by_a_foreign_cursor,
    ):
        await send(services, other)
        own = await send(services, person)
        assert await stream.ids(1) == [own]
        assert await by_a_foreign_cursor.ids(1) == [own]


async def test_kinds_narrow_replay_and_live(services: Services, database: Database) -> None:
    person = await make_person(database, daily_cap=10)
    promo = await promo_at_noon(database)
    missed = [await send(services, person, kind) for kind in (LOW, READY)]
    async with (
        listening(services, person, after="0", kinds=["LOW_BALANCE"]) as low,
        listening(services, person, after="0", kinds=["LOW_BALANCE", "PREDICTION_READY"]) as both,
        listening(services, person, PROMOS, after="0") as promos,
    ):
        live = [await send(services, person, kind) for kind in (READY, LOW)]
        told = await send(services, person, NotificationKind.PROMO, promo_id=promo)
        last = await send(services, person, LOW)
        assert await low.ids(3) == [missed[0], live[1], last]
        assert await both.ids(5) == [*missed, *live, last]
        assert await promos.next() == {"id": told, "kind": "PROMO"}


async def test_a_lost_message_costs_time_only(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_feed, "REREAD_SECONDS", 0.1)
    person = await make_person(database)
    async with listening(services, person) as stream:
        made = await write(database, person, 2)
        assert await stream.ids(2) == made


async def test_the_next_message_brings_what_a_lost_one_did_not(
    services: Services, database: Database
) -> None:
    person = await make_person(database)
    async with listening(services, person) as stream:
        made = [*await write(database, person, 2), await send(services, person)]
        assert await stream.ids(3) == made


async def test_a_message_that_says_nothing_makes_everybody_look(
    services: Services, database: Database
) -> None:
    """It is what an outage of Redis ends with: what was published meanwhile is lost."""
    people = [await make_person(database) for _ in range(2)]
    async with (
        listening(services, people[0]) as first,
        listening(services, people[1]) as second,
    ):
        made = [(await write(database, person))[0] for person in people]
        await publish(services.redis, NOTIFICATIONS, "")
        assert [await first.ids(1), await second.ids(1)] == [made[:1], made[1:]]


async def test_a_redis_connection_that_breaks_is_made_good(
    services: Services, database: Database
) -> None:
    person = await make_person(database)
    async with listening(services, person) as stream:
        (subscribed,) = [
            client
            for client in await services.redis.client_list("pubsub")
            if client["psub"] == "1" and client["db"] == str(database_number(services))
        ]
        await services.redis.client_kill(subscribed["addr"])
        made = await write(database, person, 2)  # while nobody hears
        assert await stream.ids(2) == made
        live = await send(services, person)
        assert await stream.ids(1) == [live]


def database_number(services: Services) -> int:
    return int(services.redis.connection_pool.connection_kwargs.get("db", 0))


async def test_a_database_that_fails_once_does_not_end_the_streams(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await make_person(database)
    failures = iter([ConnectionError("gone")])

    async def fails_once(*given: Any) -> Any:
        for failure in failures:
            raise failure
        return await newer_than(*given)

    async with listening(services, person) as stream:
        monkeypatch.setattr(notification_feed, "newer_than", fails_once)
        made = await send(services, person)
        assert await stream.ids(1) == [made]


async def test_many_streams_cost_one_query_a_message(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [await make_person(database) for _ in range(8)]
    asked: list[set[UUID]] = []

    async def noted(reader: Any, seen: dict[UUID, int], limit: int) -> Any:
        asked.append(set(seen))
        return await newer_than(reader, seen, limit)

    async def forbidden(*given: Any, **named: Any) -> Any:
        raise AssertionError("a stream that is live reads nothing by itself")

    async with AsyncExitStack() as opened:
        streams = [
            await opened.enter_async_context(listening(services, person)) for person in people
        ]
        ids = {person: await tell(database, person) for person in people}
        tasks = len(asyncio.all_tasks())
        monkeypatch.setattr(notification_feed, "newer_than", noted)
        monkeypatch.setattr(notification_feed, "missed", forbidden)
        await publish_notifications(services.redis, [(p, i) for p, i in ids.items() if i])
        heard = [(await stream.next())["id"] for stream in streams]
        assert heard == [global_id("Notification", id_) for id_ in ids.values()]
        assert asked == [set(people)]
        assert len(asyncio.all_tasks()) <= tasks


async def test_streams_of_one_person_that_stand_at_different_places_get_what_each_lacks(
    services: Services, database: Database
) -> None:
    person = await make_person(database)
    ids = [await tell(database, person) or 0 for _ in range(4)]
    ahead, behind = NotificationStream(person, None), NotificationStream(person, None)
    ahead.go_live(ids[2])
    behind.go_live(ids[0])
    feed = feed_of(services)
    feed._streams[person] = {ahead, behind}
    await feed._deliver({person})
    assert [row.id for row in await ahead.take()] == ids[3:]
    assert [row.id for row in await behind.take()] == ids[1:]


async def test_who_reads_slowly_leaves_no_rows_waiting_and_misses_none(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_feed, "MOST_WAITING", 3)
    person = await make_person(database)
    async with feed_following(services, person) as rows:
        reading = asyncio.create_task(anext(rows))
        await until_live(services, person)
        made = [await send(services, person)]
        first = await asyncio.wait_for(reading, 20)
        (stream,) = feed_of(services)._streams[person]
        made += [await send(services, person) for _ in range(9)]

        async def dropped() -> bool:
            return not stream.live

        await eventually(dropped, what="the feed giving up on the slow reader")
        assert len(stream._waiting) == 0
        rest = [await asyncio.wait_for(anext(rows), 20) for _ in range(9)]
        assert [global_id("Notification", row.id) for row in (first, *rest)] == made


@asynccontextmanager
async def feed_following(services: Services, person: UUID) -> AsyncIterator[Any]:
    rows = feed_of(services).follow(person, None, None)
    try:
        yield rows
    finally:
        await rows.aclose()


async def test_the_feed_is_gone_with_its_last_listener(
    services: Services, database: Database
) -> None:
    person = await make_person(database)
    async with listening(services, person, after="0"):
        await until_live(services, person)
        feed = feed_of(services)
        listener = feed._task
    assert listener is not None
    await asyncio.wait({listener}, timeout=20)
    assert listener.cancelled()
    assert feed._streams == {}
    assert NOTIFICATIONS not in services.events._listeners


async def test_a_stream_needs_a_person(services: Services, application: object) -> None:
    for query in (ALL, PROMOS):
        async with listening(services, None, query) as stream:
            assert await stream.fault() == "UNAUTHENTICATED"


@pytest.mark.parametrize("after", ["x", "-1", global_id("Promo", 1), ""])
async def test_a_cursor_that_is_none_is_refused(
    services: Services, database: Database, after: str
) -> None:
    person = await make_person(database)
    async with listening(services, person, after=after) as stream:
        assert await stream.fault() == "BAD_USER_INPUT"
