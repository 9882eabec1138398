"""Shared streams: made once for all who watch the same, and no less each one's own."""

import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from typing import Any, cast

import pytest
from graphql.execution.collect_fields import FieldDetails
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from db.models.accounts import Role
from schema.edge import broadcasts
from schema.edge.context import Context
from schema.edge.http import GraphQLApp
from schema.edge.services import Services
from schema.edge.socket_operations import MOST_WAITING
from tests.edge.boards import SCHEMA, Board, Wire, boards_app, wire
from tests.factories import make_user
from tests.servers import token_for


@pytest.fixture
def app(application: Starlette, services: Services) -> GraphQLApp:
    return boards_app(services)


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
async def wires(app: GraphQLApp) -> AsyncIterator[list[Wire]]:
    """Three strangers."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(wire(app)) for _ in range(3)]


@pytest.fixture
def no_answer_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasts, "FRESH_SECONDS", -1.0)


async def watch_all(wires: list[Wire], board: Board, selection: str = "text") -> None:
    """They watch, and each has its first answer."""
    for one in wires:
        one.watch(board, selection)
        await one.data()


class TestSharing:
    async def test_those_who_watch_the_same_share_a_source_and_an_execution_an_event(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires, board, "counted")
        board.change("second")
        assert [await one.data() for one in wires] == [{"counted": "second"}] * 3
        assert (board.opened, board.executed) == (1, 2)

    async def test_each_is_answered_under_the_id_it_chose(
        self, wires: list[Wire], board: Board
    ) -> None:
        ids = ["1", 'with "quotes"', "ünïcode"]
        for one, id in zip(wires, ids, strict=True):
            one.watch(board, id=id)
        assert [(await one.told())["id"] for one in wires] == ids

    async def test_two_places_of_one_socket_are_both_told(
        self, wires: list[Wire], board: Board
    ) -> None:
        for id in ("a", "b"):
            wires[0].watch(board, id=id)
            await wires[0].data()
        board.change("second")
        assert {(await wires[0].told())["id"] for _ in range(2)} == {"a", "b"}
        assert board.opened == 1

    async def test_another_variable_or_document_is_another_stream(
        self, wires: list[Wire], board: Board
    ) -> None:
        other = Board()
        wires[0].watch(board)
        wires[1].watch(other)
        wires[2].watch(board, "text counted")
        answers = [await one.data() for one in wires]
        assert answers[2] == {"text": "first", "counted": "first"}
        assert (board.opened, other.opened) == (2, 1)
        other.change("elsewhere")
        assert await wires[1].data() == {"text": "elsewhere"}
        assert await wires[0].silent()

    async def test_what_is_not_declared_shared_is_each_ones_own(
        self, wires: list[Wire], board: Board
    ) -> None:
        for one in wires:
            one.watch(board, field="ownSheet")
            await one.data()
        assert board.opened == 3


class TestJoining:
    async def test_a_newcomer_first_gets_the_present_state(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires[:2], board)
        board.change("second")
        assert await wires[0].data() == {"text": "second"}
        wires[2].watch(board)
        assert await wires[2].data() == {"text": "second"}
        board.change("third")
        assert await wires[2].data() == {"text": "third"}

    async def test_newcomers_in_a_row_do_not_read_the_state_each(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires, board)
        assert board.opened == 1

    @pytest.mark.usefixtures("no_answer_is_fresh")
    async def test_a_newcomer_gets_what_changed_without_an_event(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires[:1], board)
        board.text = "time has passed"
        wires[1].watch(board)
        assert await wires[1].data() == {"text": "time has passed"}
        assert await wires[0].silent()
        await board.source_closed()  # that reading's source; the shared one is open
        board.change("second")
        assert await wires[1].data() == {"text": "second"}

    @pytest.mark.usefixtures("no_answer_is_fresh")
    async def test_an_event_that_overtakes_a_newcomers_reading_is_told_once_and_nothing_older(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires[:1], board)
        board.readable.clear()
        wires[1].watch(board)
        assert await wires[1].silent()  # it reads the first state, slowly
        board.change("second")
        assert await wires[1].data() == {"text": "second"}
        board.readable.set()
        await board.source_closed()
        assert await wires[1].silent()

    @pytest.mark.usefixtures("no_answer_is_fresh")
    async def test_a_newcomer_whose_reading_fails_is_told_and_the_others_stay(
        self, wires: list[Wire], board: Board, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await watch_all(wires[:1], board)
        with monkeypatch.context() as patch:
            patch.setattr(board, "states", None)
            wires[1].watch(board)
            failed = await wires[1].told()
        assert failed["payload"]["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        assert (await wires[1].told())["type"] == "complete"
        board.change("second")
        assert await wires[0].data() == {"text": "second"}


class TestAdmission:
    async def test_who_lacks_the_role_is_refused_though_others_watch(
        self, app: GraphQLApp, services: Services, board: Board
    ) -> None:
        admin = await make_user(services.database, role=Role.ADMIN)
        user = await make_user(services.database)
        async with (
            wire(app, token_for(admin.id)) as allowed,
            wire(app, token_for(user.id)) as refused,
            wire(app) as unknown,
        ):
            for one in (allowed, refused, unknown):
                one.watch(board, field="adminSheet")
            assert await allowed.data() == {"text": "first"}
            for one, code in ((refused, "FORBIDDEN"), (unknown, "UNAUTHENTICATED")):
                answer = await one.told()
                assert answer["type"] == "error"
                assert answer["payload"][0]["extensions"]["code"] == code
                assert answer["payload"][0]["path"] == ["adminSheet"]
            board.change("second")
            assert await refused.silent()

    async def test_a_rate_counts_each_who_joins(self, wires: list[Wire], board: Board) -> None:
        for one in wires:
            one.watch(board, field="rareSheet")
        answers = [await one.told() for one in wires]
        assert sorted(answer["type"] for answer in answers) == ["error", "next", "next"]

    async def test_the_cost_is_charged_to_each_who_joins(
        self, app: GraphQLApp, services: Services, board: Board
    ) -> None:
        user = await make_user(services.database)
        async with wire(app, token_for(user.id)) as first, wire(app, token_for(user.id)) as second:
            left = []
            for one in (first, second):
                one.watch(board)
                await one.data()
                caller, budget = f"user:{user.id}", services.policy.budget_per_minute
                asked = await services.limiter.hit("budget", caller, budget, 60, cost=0)
                left.append(asked.remaining)
            assert left[1] < left[0]

    async def test_a_token_that_expires_ends_its_owners_stream_and_no_other(
        self, app: GraphQLApp, services: Services, board: Board
    ) -> None:
        admin = await make_user(services.database, role=Role.ADMIN)
        short, long = (token_for(admin.id, timedelta(seconds=s)) for s in (2, 60))
        async with wire(app, short) as brief, wire(app, long) as lasting:
            for one in (brief, lasting):
                one.watch(board, field="adminSheet")
                await one.data()
            last = await brief.told()
            assert last["payload"]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
            assert (await brief.told())["type"] == "complete"
            board.change("second")
            assert await lasting.data() == {"text": "second"}
            assert await brief.silent()

    async def test_wrong_variables_are_an_error_for_each(
        self, wires: list[Wire], board: Board
    ) -> None:
        board.name = 3  # type: ignore[assignment] # where a text belongs
        for one in wires:
            one.watch(board)
            answer = await one.told()
            assert answer["type"] == "error"
            assert answer["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"


PERSONAL = [
    "reader",
    "... on Sheet { reader }",
    "...f } } fragment f on Sheet { ...g } fragment g on Sheet { reader note { text",
    "membersOnly",
    "note { signed }",
    "note { ... on Note { signed } }",
]
"""Selections whose answers depend on who asks: directly, in fragments, by role, by implementation.
"""


class TestPersonalFields:
    @pytest.mark.parametrize("selection", PERSONAL)
    async def test_a_selection_with_a_personal_field_is_answered_to_each_for_itself(
        self, app: GraphQLApp, services: Services, board: Board, selection: str
    ) -> None:
        users = [await make_user(services.database) for _ in range(2)]
        async with wire(app, token_for(users[0].id)) as a, wire(app, token_for(users[1].id)) as b:
            for one in (a, b):
                one.watch(board, selection)
            answers = [await one.data() for one in (a, b)]
        assert board.opened == 2
        if selection != "membersOnly":
            for user, answer in zip(users, answers, strict=True):
                assert str(user.username) in str(answer)

    async def test_a_personal_field_that_nobody_declared_is_an_error_and_no_leak(
        self, app: GraphQLApp, services: Services, board: Board
    ) -> None:
        user = await make_user(services.database)
        async with wire(app, token_for(user.id)) as one:
            one.watch(board, "careless")
            payload = (await one.told())["payload"]
        assert payload["data"] == {"sheet": {"careless": None}}
        assert payload["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"


class TestEvents:
    async def test_what_one_event_looked_up_is_forgotten_at_the_next(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires[:1], board, "remembered")
        board.change("second")
        assert await wires[0].data() == {"remembered": "second"}

    async def test_a_field_that_breaks_is_null_and_its_error_is_masked(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires, board, "fragile text")
        board.change("broken")
        for one in wires:
            payload = (await one.told())["payload"]
            assert payload["data"] == {"sheet": {"fragile": None, "text": "broken"}}
            assert payload["errors"][0]["path"] == ["sheet", "fragile"]
            assert payload["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"

    @pytest.mark.parametrize("field", ["sheet", "ownSheet"])
    async def test_a_long_stream_keeps_nothing_of_its_past_events(
        self, wires: list[Wire], board: Board, field: str
    ) -> None:
        wires[0].watch(board, "note { text }", field=field)
        await wires[0].data()
        before = kept()
        for number in range(30):
            board.change(str(number))
            await wires[0].data()
        assert kept() == before

    async def test_nor_does_one_of_server_sent_events(
        self, application: Starlette, services: Services, board: Board
    ) -> None:
        query = "subscription($name: String!) { sheet(name: $name) { note { text } } }"
        context = Context(services, HTTPConnection({"type": "http", "headers": []}))
        stream = await SCHEMA.stream(query, {"name": board.name}, context_value=context)
        async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as results:
            assert (await anext(results)).errors is None
            before = kept()
            for number in range(30):
                board.change(str(number))
                await anext(results)
            # Not the same figure: what the latest event collected is still at hand.
            assert kept() < before + 30


def kept() -> int:
    """Selections that executors remember: graphql-core's memo of them grew with each event."""
    return sum(isinstance(one, FieldDetails) for one in gc.get_objects())


class TestEnds:
    async def test_the_last_to_leave_closes_the_source(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires[:2], board)
        wires[0].say({"type": "complete", "id": "1"})
        board.change("second")
        assert await wires[1].data() == {"text": "second"}
        assert await wires[0].silent()
        wires[1].say({"type": "complete", "id": "1"})
        await board.source_closed()
        assert not board.news

    async def test_a_socket_that_closes_leaves_its_streams(
        self, app: GraphQLApp, board: Board
    ) -> None:
        async with wire(app) as one:
            one.watch(board)
            await one.data()
            one.watch(board, field="ownSheet", id="2")
            await one.data()
        for _ in range(2):
            await board.source_closed()
        assert not board.news

    async def test_whoever_left_may_come_again_under_the_same_id(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires[:1], board)
        wires[0].say({"type": "complete", "id": "1"})
        board.text = "second"
        wires[0].watch(board)
        assert await wires[0].data() == {"text": "second"}

    async def test_a_source_that_ends_completes_all_and_the_next_to_come_opens_another(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires[:2], board)
        board.tell(None)
        assert [(await one.told())["type"] for one in wires[:2]] == ["complete"] * 2
        board.text = "second"
        wires[2].watch(board)
        assert await wires[2].data() == {"text": "second"}
        assert board.opened == 2

    async def test_a_source_that_breaks_off_tells_all_and_ends(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires, board)
        board.tell(LookupError("a secret of ours"))
        for one in wires:
            payload = (await one.told())["payload"]
            assert payload["data"] is None
            assert payload["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
            assert (await one.told())["type"] == "complete"

    async def test_what_a_source_refuses_has_its_code(self, wires: list[Wire]) -> None:
        unknown = Board()
        unknown.name = "unknown"
        wires[0].watch(unknown)
        payload = (await wires[0].told())["payload"]
        assert payload["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        assert (await wires[0].told())["type"] == "complete"


class TestSlowReaders:
    async def test_a_slow_reader_holds_nobody_up_and_ends_with_the_newest_state(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires, board)
        wires[0].flowing.clear()
        for number in range(100):
            board.change(str(number))
            assert await wires[1].data() == {"text": str(number)}
        wires[0].flowing.set()
        seen = [await wires[0].data()]
        while seen[-1] != {"text": "99"}:
            seen.append(await wires[0].data())
        assert len(seen) <= MOST_WAITING + 1  # and the one that was on its way

    async def test_the_end_of_a_stream_reaches_a_slow_reader_last(
        self, wires: list[Wire], board: Board
    ) -> None:
        await watch_all(wires[:2], board)
        wires[0].flowing.clear()
        board.change("second")
        board.tell(None)
        assert await wires[1].data() == {"text": "second"}
        assert (await wires[1].told())["type"] == "complete"
        wires[0].flowing.set()
        assert await wires[0].data() == {"text": "second"}
        assert (await wires[0].told())["type"] == "complete"

    async def test_a_stream_of_its_own_waits_for_its_reader_and_loses_nothing(
        self, wires: list[Wire], board: Board
    ) -> None:
        wires[0].watch(board, field="ownSheet")
        await wires[0].data()
        wires[0].flowing.clear()
        for number in range(30):
            board.change(str(number))
        wires[0].flowing.set()
        seen = [(await wires[0].data())["text"] for _ in range(30)]
        assert seen == [str(number) for number in range(30)]
