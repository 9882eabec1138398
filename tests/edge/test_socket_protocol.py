"""graphql-transport-ws, message by message, against an application in this process."""

import pytest
from starlette.applications import Starlette

from schema.edge import sockets
from schema.edge.http import GraphQLApp
from schema.edge.services import Services
from schema.edge.sockets import MOST_OPERATIONS
from tests.edge.boards import Board, Wire, bare_wire, boards_app, wire


@pytest.fixture
def app(application: Starlette, services: Services) -> GraphQLApp:
    return boards_app(services)


@pytest.fixture
def board() -> Board:
    return Board()


async def closing_code(opened: Wire) -> int:
    message = await opened.raw()
    assert message["type"] == "websocket.close", message
    assert len(message["reason"].encode()) <= 123  # a control frame holds no more
    return int(message["code"])


async def test_a_ping_is_answered_even_before_the_greeting(app: GraphQLApp) -> None:
    async with bare_wire(app) as opened:
        opened.say({"type": "ping"})
        assert await opened.told() == {"type": "pong"}


async def test_a_pong_is_heard_in_silence(app: GraphQLApp) -> None:
    async with wire(app) as opened:
        opened.say({"type": "pong"})
        assert await opened.silent()


async def test_a_query_is_answered_and_completed(app: GraphQLApp) -> None:
    async with wire(app) as opened:
        opened.say({"type": "subscribe", "id": "q", "payload": {"query": "{ ok }"}})
        answer = {"id": "q", "type": "next", "payload": {"data": {"ok": True}}}
        assert await opened.told() == answer
        assert await opened.told() == {"id": "q", "type": "complete"}


async def test_who_subscribes_ungreeted_is_sent_away(app: GraphQLApp, board: Board) -> None:
    async with bare_wire(app) as opened:
        opened.watch(board)
        assert await closing_code(opened) == 4401


async def test_who_greets_twice_is_sent_away(app: GraphQLApp) -> None:
    async with wire(app) as opened:
        opened.say({"type": "connection_init"})
        assert await closing_code(opened) == 4429


@pytest.mark.parametrize("payload", [None, [], "text", 3])
async def test_a_greeting_brings_an_object_or_nothing(app: GraphQLApp, payload: object) -> None:
    async with bare_wire(app) as opened:
        opened.say({"type": "connection_init", "payload": payload})
        assert await closing_code(opened) == 4400


async def test_who_never_greets_is_sent_away(
    app: GraphQLApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "INIT_SECONDS", 0.05)
    async with bare_wire(app) as opened:
        assert await closing_code(opened) == 4408


async def test_who_greeted_in_time_stays(app: GraphQLApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "INIT_SECONDS", 0.05)
    async with wire(app) as opened:
        assert await opened.silent()
        assert await opened.silent()


@pytest.mark.parametrize("field", ["sheet", "ownSheet"])
async def test_an_id_in_use_can_not_be_used_again(
    app: GraphQLApp, board: Board, field: str
) -> None:
    async with wire(app) as opened:
        opened.watch(board, field=field, id="é" * 200)
        await opened.data()
        opened.watch(board, field=field, id="é" * 200)
        assert await closing_code(opened) == 4409


async def test_a_socket_has_room_for_so_many_operations_and_stays(
    app: GraphQLApp, board: Board
) -> None:
    async with wire(app) as opened:
        for number in range(MOST_OPERATIONS):
            opened.watch(board, id=str(number))
            await opened.data()
        opened.watch(board, id="one too many")
        assert (await opened.told())["type"] == "error"
        opened.say({"type": "complete", "id": "7"})
        opened.watch(board, id="in its place")
        assert await opened.data() == {"text": "first"}


async def test_what_is_not_text_is_refused(app: GraphQLApp) -> None:
    async with wire(app) as opened:
        opened.received.put_nowait({"type": "websocket.receive", "bytes": b"{}", "text": None})
        assert await closing_code(opened) == 4400


async def test_an_unknown_message_is_refused_however_long_its_name(app: GraphQLApp) -> None:
    async with wire(app) as opened:
        opened.say({"type": "nonsense" * 100})
        assert await closing_code(opened) == 4400


async def test_nothing_said_after_a_fault_is_obeyed(app: GraphQLApp, board: Board) -> None:
    async with wire(app) as opened:
        opened.say([])
        opened.watch(board)
        assert await closing_code(opened) == 4400
        assert await opened.silent()
    assert board.opened == 0


async def test_another_protocol_is_refused(app: GraphQLApp) -> None:
    async with bare_wire(app, protocol="graphql-ws") as opened:
        assert await closing_code(opened) == 4406


async def test_the_end_of_what_is_unknown_is_no_fault(app: GraphQLApp) -> None:
    async with wire(app) as opened:
        opened.say({"type": "complete", "id": "unknown"})
        opened.say({"type": "ping"})
        assert await opened.told() == {"type": "pong"}


async def test_a_subscription_that_is_not_valid_is_an_error_message(app: GraphQLApp) -> None:
    queries = ["subscription { nope }", "subscription { sheet { text } }", "subscription {"]
    async with wire(app) as opened:
        for query in queries:
            opened.say({"type": "subscribe", "id": "1", "payload": {"query": query}})
            answer = await opened.told()
            assert answer["type"] == "error"
            assert answer["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_stream_behind_a_fragment_of_the_root_runs_as_well(
    app: GraphQLApp, board: Board
) -> None:
    query = (
        "subscription s($name: String!) { ...f } "
        "fragment f on Subscription { sheet(name: $name) { text } }"
    )
    payload = {"query": query, "variables": {"name": board.name}, "operationName": "s"}
    async with wire(app) as opened:
        opened.say({"type": "subscribe", "id": "1", "payload": payload})
        assert await opened.data() == {"text": "first"}
