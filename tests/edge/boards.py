"""A schema with shared streams, what feeds it, and sockets to an application in this process."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import strawberry
from strawberry.types.info import Info as AnyInfo

from db.models.accounts import Role
from schema.edge.execution import Schema
from schema.edge.faults import NotFound
from schema.edge.fields import PUBLIC, Rate, link, query, subscription
from schema.edge.http import GraphQLApp
from schema.edge.operations import Operation
from schema.edge.services import Services

ANSWER_SECONDS = 5.0


BOARDS: "WeakValueDictionary[str, Board]" = WeakValueDictionary()


class Board:
    """What is watched: a text, whom to tell when it changes, and a count of who reads it."""

    def __init__(self) -> None:
        self.name = uuid4().hex
        self.text = "first"
        self.opened = 0
        self.executed = 0
        self.news: set[asyncio.Queue[str | Exception | None]] = set()
        self.readable = asyncio.Event()
        self.readable.set()
        self._closings: asyncio.Queue[None] = asyncio.Queue()
        BOARDS[self.name] = self

    def change(self, text: str) -> None:
        self.text = text
        self.tell(text)

    def tell(self, news: str | Exception | None) -> None:
        """An exception breaks the sources off, None ends them."""
        for queue in self.news:
            queue.put_nowait(news)

    async def states(self) -> AsyncGenerator[str, None]:
        queue: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.opened += 1
        self.news.add(queue)
        try:
            text = self.text
            await self.readable.wait()
            yield text
            while (news := await queue.get()) is not None:
                if isinstance(news, Exception):
                    raise news
                yield news
        finally:
            self.news.discard(queue)
            self._closings.put_nowait(None)

    async def source_closed(self) -> None:
        """Once for each that was."""
        await asyncio.wait_for(self._closings.get(), ANSWER_SECONDS)


Info = AnyInfo[Any, None]


async def asker(info: Info) -> str:
    viewer = await info.context.viewer()
    return viewer.username if viewer else "nobody"


@strawberry.interface
class Signed:
    text: str

    @link(description="The text, signed.")
    async def signed(self, info: Info) -> str:
        return self.text


@strawberry.type
class Note(Signed):
    @link(description="The text, signed by who reads it.", personal=True)
    async def signed(self, info: Info) -> str:
        return f"{self.text} for {await asker(info)}"


@strawberry.type
class Sheet:
    text: str
    board: strawberry.Private[Board]

    @link(description="Counts how often an event is executed.")
    def counted(self) -> str:
        self.board.executed += 1
        return self.text

    @link(description="Who reads it.", personal=True)
    async def reader(self, info: Info) -> str:
        return await asker(info)

    @link(description="The same, and its author forgot to say so.")
    async def careless(self, info: Info) -> str | None:
        return await asker(info)

    @query(access=Role.USER, description="For people with an account.")
    async def members_only(self, info: Info) -> str:
        return self.text

    @link(description="Looked up once for each who reads it in one event.")
    async def remembered(self, info: Info) -> str:
        loaders = info.context.loaders
        return str(loaders.setdefault("remembered", self.text))

    @link(description="Signed.")
    def note(self) -> Signed:
        return Note(text=self.text)

    @link(description="Breaks on the text 'broken'.")
    def fragile(self) -> str | None:
        if self.text == "broken":
            raise LookupError("a secret of ours")
        return self.text


async def sheets(name: str) -> AsyncGenerator[Sheet, None]:
    board = BOARDS.get(name)
    if board is None:
        raise NotFound("There is no such board.")
    async with aclosing(board.states()) as states:
        async for text in states:
            yield Sheet(board=board, text=text)


@strawberry.type
class Query:
    @query(access=PUBLIC, description="True.")
    async def ok(self) -> bool:
        return True


@strawberry.type
class Subscription:
    @subscription(access=PUBLIC, description="For all.", shared=True)
    async def sheet(self, info: Info, name: str) -> AsyncIterator[Sheet]:
        async for sheet in sheets(name):
            yield sheet

    @subscription(access=Role.ADMIN, description="For admins.", shared=True)
    async def admin_sheet(self, info: Info, name: str) -> AsyncIterator[Sheet]:
        async for sheet in sheets(name):
            yield sheet

    @subscription(access=PUBLIC, description="Twice.", rate=Rate(2, 60), shared=True)
    async def rare_sheet(self, info: Info, name: str) -> AsyncIterator[Sheet]:
        async for sheet in sheets(name):
            yield sheet

    @subscription(access=PUBLIC, description="Each for itself.")
    async def own_sheet(self, info: Info, name: str) -> AsyncIterator[Sheet]:
        async for sheet in sheets(name):
            yield sheet


SCHEMA = Schema(query=Query, subscription=Subscription, types=[Note], extensions=[Operation])


def boards_app(services: Services) -> GraphQLApp:
    return GraphQLApp(SCHEMA, lambda: services, graphiql_page=None, allowed_origins=())


class Wire:
    """The client's end of a socket. What the server sends waits in memory until it is read."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.flowing = asyncio.Event()
        self.flowing.set()

    async def send_to_client(self, message: Any) -> None:
        await self.flowing.wait()
        self.sent.put_nowait(message)

    def say(self, message: object) -> None:
        self.received.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def watch(
        self, board: Board, selection: str = "text", *, field: str = "sheet", id: str = "1"
    ) -> None:
        """`selection` may bring fragments: '... } } fragment f on Sheet { { text'."""
        query = f"subscription($name: String!) {{ {field}(name: $name) {{ {selection} }} }}"
        payload = {"query": query, "variables": {"name": board.name}}
        self.say({"type": "subscribe", "id": id, "payload": payload})

    async def raw(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.sent.get(), ANSWER_SECONDS)

    async def told(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((await self.raw())["text"])
        return answer

    async def data(self) -> Any:
        """Of the next message, which is an answer without errors: its root field."""
        message = await self.told()
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        (root,) = message["payload"]["data"].values()
        return root

    async def silent(self) -> bool:
        """Whether nothing comes, though everything that could send had its turn."""
        await asyncio.sleep(0.05)
        return self.sent.empty()


@asynccontextmanager
async def wire(app: GraphQLApp, token: str | None = None) -> AsyncIterator[Wire]:
    """A socket that has been greeted."""
    async with bare_wire(app) as opened:
        payload = {"Authorization": f"Bearer {token}"} if token else {}
        opened.say({"type": "connection_init", "payload": payload})
        assert (await opened.told())["type"] == "connection_ack"
        yield opened


@asynccontextmanager
async def bare_wire(app: GraphQLApp, protocol: str = "graphql-transport-ws") -> AsyncIterator[Wire]:
    opened = Wire()
    opened.received.put_nowait({"type": "websocket.connect"})
    scope = {
        "type": "websocket",
        "path": "/graphql",
        "headers": [],
        "subprotocols": [protocol],
        "client": ("127.0.0.1", 1),
    }
    serving = asyncio.create_task(app(scope, opened.received.get, opened.send_to_client))
    try:
        assert (await opened.raw())["type"] == "websocket.accept"
        yield opened
    finally:
        opened.received.put_nowait({"type": "websocket.disconnect", "code": 1000})
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(serving, ANSWER_SECONDS)
