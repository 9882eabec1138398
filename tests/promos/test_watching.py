"""promoUpdated: the state now, each change, the last state for sure, and then the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from starlette.applications import Starlette

from db.events import promo_topic, publish, stock_topic
from db.models.accounts import Role
from db.models.promos import PromoStatus
from resolvers import promos as resolvers
from schema.edge.http import GraphQLApp
from schema.edge.services import Services
from schema.root import schema
from tests.clients import Api, SignIn
from tests.edge.boards import Wire, wire
from tests.factories import make_user
from tests.market import Stock, make_promo, make_stock
from tests.promos.offers import cancel, change, make_hold, set_status

QUERY = "subscription($id: ID!) { promoUpdated(promoId: $id) { status remaining } }"


def watch(opened: Wire, promo_id: int | str, query: str = QUERY) -> None:
    payload = {"query": query, "variables": {"id": str(promo_id)}}
    opened.say({"type": "subscribe", "id": "1", "payload": payload})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second of waiting between two events."""
    monkeypatch.setattr(resolvers, "SECONDS_BETWEEN_LOOKS", 0)


@pytest.fixture
async def owner(services: Services, sign_in: SignIn) -> tuple[Api, Stock]:
    api, merchant = await sign_in(Role.MERCHANT)
    return api, await make_stock(services.database, owner_id=merchant.id)


@pytest.fixture
async def socket(
    application: Starlette, services: Services, owner: tuple[Api, Stock]
) -> AsyncIterator[Wire]:
    app = GraphQLApp(schema, lambda: services, graphiql_page=None, allowed_origins=())
    async with wire(app, owner[0].token) as opened:
        yield opened


async def sell(services: Services, promo_id: int, stock: Stock) -> None:
    """A unit is held, and told of."""
    buyer = await make_user(services.database)
    await make_hold(services.database, promo_id, buyer.id)
    await publish(services.redis, stock_topic(stock.id))


@pytest.mark.usefixtures("quick")
async def test_the_state_comes_first_then_what_changes_until_it_is_over(
    services: Services, owner: tuple[Api, Stock], socket: Wire
) -> None:
    api, stock = owner
    promo = await make_promo(services.database, stock)
    watch(socket, promo)
    assert await socket.data() == {"status": "ACTIVE", "remaining": 10}
    await sell(services, promo, stock)
    assert await socket.data() == {"status": "ACTIVE", "remaining": 9}
    await change(api, promo, quota=4)
    assert await socket.data() == {"status": "ACTIVE", "remaining": 3}
    await cancel(api, promo)
    assert await socket.data() == {"status": "CANCELLED", "remaining": 4}
    assert (await socket.told())["type"] == "complete"


@pytest.mark.parametrize("status", [PromoStatus.ENDED, PromoStatus.CANCELLED])
async def test_one_that_is_over_is_told_once(
    services: Services, owner: tuple[Api, Stock], socket: Wire, status: PromoStatus
) -> None:
    watch(socket, await make_promo(services.database, owner[1], status=status))
    assert (await socket.data())["status"] == status
    assert (await socket.told())["type"] == "complete"


async def test_a_burst_is_one_event_with_the_last_state(
    services: Services,
    owner: tuple[Api, Stock],
    socket: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = asyncio.Semaphore(0)

    async def breather() -> None:
        await second.acquire()

    monkeypatch.setattr(resolvers, "breather", breather)
    stock = owner[1]
    promo = await make_promo(services.database, stock)
    watch(socket, promo)
    assert (await socket.data())["remaining"] == 10
    for _ in range(4):
        await sell(services, promo, stock)
    assert await socket.silent()
    second.release()
    assert (await socket.data())["remaining"] == 6
    await sell(services, promo, stock)
    for _ in range(100):  # news of the burst that came late may wake it up for nothing
        second.release()
    assert (await socket.data())["remaining"] == 5


@pytest.mark.usefixtures("quick")
async def test_news_that_change_nothing_are_not_told(
    services: Services, owner: tuple[Api, Stock], socket: Wire
) -> None:
    stock = owner[1]
    promo = await make_promo(services.database, stock)
    # asked by one person for themselves: what many share is compared once more on its way
    own = QUERY.replace("status", "eligibility { eligible }")
    watch(socket, promo, own)
    await socket.data()
    for topic in (promo_topic(promo), stock_topic(stock.id)):
        await publish(services.redis, topic)
    assert await socket.silent()
    await sell(services, promo, stock)
    assert (await socket.data())["remaining"] == 9


@pytest.mark.usefixtures("quick")
async def test_a_lost_event_is_made_up_for(
    services: Services,
    owner: tuple[Api, Stock],
    socket: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolvers, "REREAD_SECONDS", 0.05)
    promo = await make_promo(services.database, owner[1])
    watch(socket, promo)
    await socket.data()
    await set_status(services.database, promo, PromoStatus.ENDED)
    assert (await socket.data())["status"] == "ENDED"


@pytest.mark.usefixtures("quick")
async def test_a_new_base_price_is_news(
    services: Services, owner: tuple[Api, Stock], socket: Wire
) -> None:
    stock = owner[1]
    promo = await make_promo(services.database, stock, discount_percent=50)
    priced = "subscription($id: ID!) { promoUpdated(promoId: $id) { price { amount } } }"
    watch(socket, promo, priced)
    assert await socket.data() == {"price": {"amount": "500.00"}}
    async with services.database.transaction() as session:
        await session.execute(text("UPDATE store_products SET base_price = 80"))
    await publish(services.redis, stock_topic(stock.id))
    assert await socket.data() == {"price": {"amount": "40.00"}}


async def test_each_viewer_is_told_of_their_own_eligibility(
    services: Services, owner: tuple[Api, Stock], socket: Wire
) -> None:
    promo = await make_promo(services.database, owner[1])
    personal = "subscription($id: ID!) { promoUpdated(promoId: $id) { eligibility { reasons } } }"
    watch(socket, promo, personal)
    assert await socket.data() == {"eligibility": {"reasons": ["NO_LOCATION"]}}


def code_of(message: dict[str, Any]) -> str:
    payload = message["payload"]
    errors = payload if isinstance(payload, list) else payload["errors"]
    return str(errors[0]["extensions"]["code"])


async def test_an_absent_promo_is_not_found(socket: Wire) -> None:
    watch(socket, 999_999)
    assert code_of(await socket.told()) == "NOT_FOUND"


async def test_it_is_for_signed_in_people(application: Starlette, services: Services) -> None:
    promo = await make_promo(services.database)
    app = GraphQLApp(schema, lambda: services, graphiql_page=None, allowed_origins=())
    async with wire(app) as opened:
        watch(opened, promo)
        assert code_of(await opened.told()) == "UNAUTHENTICATED"
