"""Adding and taking away units, safe under concurrency and under repetition (F45g)."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select, text

from db.errors import InputRejected
from db.events import Events, stock_topic
from db.models import IdempotencyKey, StockAdjustment, StoreProduct
from db.models.accounts import Role
from db.session import Database, create_engine
from db.transactions.store_products import adjust_stock, delete_store_product
from schema.edge.services import Services
from tests.catalogue.waiting import somebody_waits
from tests.clients import Api, SignIn
from tests.factories import make_user, right_now
from tests.market import make_promo, make_stock

ADJUST = """mutation adjust($id: ID!, $delta: Int!, $reason: String, $key: String) {
  adjustStock(storeProductId: $id, delta: $delta, reason: $reason, idempotencyKey: $key) {
    storeProduct { id stock onHand held } userErrors { code field message }
  }
}"""


async def on_hand(database: Database, stock_id: int) -> int:
    async with database.read() as reader:
        statement = select(StoreProduct.on_hand).where(StoreProduct.id == stock_id)
        return int((await reader.execute(statement)).scalar_one())


async def written_down(database: Database) -> list[tuple[int, str | None]]:
    async with database.read() as reader:
        columns = (StockAdjustment.delta, StockAdjustment.reason)
        rows = await reader.execute(select(*columns).order_by(StockAdjustment.id))
        return [(row[0], row[1]) for row in rows]


async def test_units_are_added_and_taken_away_and_why_is_kept(
    sign_in: SignIn, services: Services
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=10, owner_id=user.id)
    added = (await owner(ADJUST, id=str(stock.id), delta=5, reason="delivery"))["adjustStock"]
    assert added["storeProduct"]["stock"] == 15
    taken = (await owner(ADJUST, id=added["storeProduct"]["id"], delta=-15))["adjustStock"]
    assert taken["storeProduct"]["stock"] == 0
    assert await written_down(services.database) == [(5, "delivery"), (-15, None)]


@pytest.mark.parametrize(
    ("arguments", "field", "told"),
    [
        ({"delta": 0}, ["delta"], "must not be 0"),
        ({"delta": -8}, ["delta"], "7 units at most: 3 are held"),
        ({"delta": 2**31 - 10}, ["delta"], "add 2147483637 units at most"),
        ({"delta": 1, "reason": "x" * 501}, ["reason"], "500"),
        ({"delta": 1, "key": ""}, ["idempotencyKey"], "255"),
        ({"delta": 1, "key": "k" * 256}, ["idempotencyKey"], "255"),
    ],
)
async def test_an_adjustment_that_can_not_be_changes_nothing(
    sign_in: SignIn, services: Services, arguments: dict[str, Any], field: list[str], told: str
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=10, owner_id=user.id)
    async with services.database.transaction() as session:
        await session.execute(text("UPDATE store_products SET held = 3"))
    answer = (await owner(ADJUST, id=str(stock.id), **arguments))["adjustStock"]
    (error,) = answer["userErrors"]
    assert (error["code"], error["field"]) == ("OUT_OF_RANGE", field)
    assert told in error["message"]
    assert answer["storeProduct"] is None
    assert await on_hand(services.database, stock.id) == 10
    assert await written_down(services.database) == []


async def test_a_repeated_key_is_answered_and_not_applied_again(
    sign_in: SignIn, services: Services
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=10, owner_id=user.id)
    for _ in range(3):
        answer = (await owner(ADJUST, id=str(stock.id), delta=2, key="a"))["adjustStock"]
        assert answer["userErrors"] == []
        assert answer["storeProduct"]["onHand"] == 12
    await owner(ADJUST, id=str(stock.id), delta=2, key="b")
    assert await on_hand(services.database, stock.id) == 14


@pytest.mark.parametrize("changed", ["delta", "stock", "reason"])
async def test_a_key_used_for_something_else_is_refused(
    sign_in: SignIn, services: Services, changed: str
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=10, owner_id=user.id)
    other = await make_stock(services.database, units=20, owner_id=user.id)
    await owner(ADJUST, id=str(stock.id), delta=2, key="a")
    first: dict[str, Any] = {"id": str(stock.id), "delta": 2, "key": "a"}
    second = {"delta": ("delta", 3), "stock": ("id", str(other.id)), "reason": ("reason", "b")}
    name, value = second[changed]
    (error,) = (await owner(ADJUST, **{**first, name: value}))["adjustStock"]["userErrors"]
    assert (error["code"], error["field"]) == ("IDEMPOTENCY_KEY_REUSED", ["idempotencyKey"])
    assert await on_hand(services.database, stock.id) == 12
    assert await on_hand(services.database, other.id) == 20


async def test_a_refused_request_does_not_use_up_its_key(
    sign_in: SignIn, services: Services
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=1, owner_id=user.id)
    refused = (await owner(ADJUST, id=str(stock.id), delta=-2, key="a"))["adjustStock"]
    assert refused["userErrors"]
    await owner(ADJUST, id=str(stock.id), delta=5)
    done = (await owner(ADJUST, id=str(stock.id), delta=-2, key="a"))["adjustStock"]
    assert done["storeProduct"]["onHand"] == 4


async def test_only_the_stores_owner_and_an_admin_adjust(
    sign_in: SignIn, api: Api, services: Services
) -> None:
    stock = await make_stock(services.database, units=10)
    merchant, _ = await sign_in(Role.MERCHANT)
    person, _ = await sign_in(Role.USER)
    for role in (merchant, person):
        assert (await role(ADJUST, id=str(stock.id), delta=1, key="a")).code == "FORBIDDEN"
    assert (await api(ADJUST, id=str(stock.id), delta=1)).code == "UNAUTHENTICATED"
    assert await on_hand(services.database, stock.id) == 10
    async with services.database.read() as reader:
        keys = await reader.execute(select(func.count()).select_from(IdempotencyKey))
        assert keys.scalar_one() == 0
    admin, _ = await sign_in(Role.ADMIN)
    assert (await admin(ADJUST, id=str(stock.id), delta=1))["adjustStock"]["userErrors"] == []


async def test_stock_that_is_not_there_is_not_found(sign_in: SignIn) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    answer = (await merchant(ADJUST, id="999", delta=1, key="a"))["adjustStock"]
    assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [
        ("NOT_FOUND", ["storeProductId"])
    ]


async def adjust(database: Database, stock_id: int, by: Any, delta: int, key: str | None) -> bool:
    """Whether it was done; in a transaction of its own."""
    try:
        async with database.transaction() as session:
            await adjust_stock(
                session,
                stock_id,
                by=by,
                is_admin=False,
                delta=delta,
                reason=None,
                key=key,
                now=right_now(),
            )
    except InputRejected:
        return False
    return True


async def test_fifty_at_once_lose_no_update_and_take_no_unit_twice(
    database_url: str, database: Database
) -> None:
    stock = await make_stock(database, units=0)
    many = Database(create_engine(database_url, pool_size=50))
    try:
        added = [adjust(many, stock.id, stock.owner_id, 3, None) for _ in range(25)]
        repeats = [adjust(many, stock.id, stock.owner_id, 5, "the same") for _ in range(25)]
        assert all(await asyncio.gather(*added, *repeats))
        assert await on_hand(database, stock.id) == 25 * 3 + 5
        taken = [adjust(many, stock.id, stock.owner_id, -4, None) for _ in range(50)]
        done = sum(await asyncio.gather(*taken))
    finally:
        await many.close()
    assert done == 80 // 4
    assert await on_hand(database, stock.id) == 0
    assert sum(delta for delta, _ in await written_down(database)) == 0


async def test_stock_deleted_meanwhile_is_not_found(database: Database) -> None:
    stock = await make_stock(database)
    deleted = asyncio.Event()

    async def delete_slowly() -> None:
        async with database.transaction() as session:
            owner = stock.owner_id
            await delete_store_product(session, stock.id, by=owner, is_admin=False)
            deleted.set()
            await somebody_waits(database)

    async def adjust_meanwhile() -> list[str]:
        await deleted.wait()
        with pytest.raises(InputRejected) as refused:
            async with database.transaction() as session:
                await adjust_stock(
                    session,
                    stock.id,
                    by=stock.owner_id,
                    is_admin=False,
                    delta=1,
                    reason=None,
                    key=None,
                    now=right_now(),
                )
        return [problem.code for problem in refused.value.problems]

    _, codes = await asyncio.gather(delete_slowly(), adjust_meanwhile())
    assert codes == ["NOT_FOUND"]


async def test_listeners_of_the_stock_are_told(sign_in: SignIn, services: Services) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=user.id)
    events: Events = services.events
    async with events.listen(stock_topic(stock.id)) as news, asyncio.timeout(30):
        while news.empty():  # the first ones may come before the subscription stands
            await owner(ADJUST, id=str(stock.id), delta=1)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["adjust", "update"])
async def test_units_that_are_added_are_offered_to_who_waits(
    sign_in: SignIn, services: Services, how: str
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=0, owner_id=user.id)
    promo = await make_promo(services.database, stock)
    waiting = await make_user(services.database)
    join = (
        "INSERT INTO waitlist_entries (promo_id, user_id, quantity, joined_at) "
        "VALUES (:promo, :user, 2, now())"
    )
    async with services.database.transaction() as session:
        await session.execute(text(join), {"promo": promo, "user": waiting.id})
    if how == "adjust":
        shown = (await owner(ADJUST, id=str(stock.id), delta=3))["adjustStock"]["storeProduct"]
    else:
        document = """mutation u($id: ID!) {
          updateStoreProduct(id: $id, input: {stock: 3}) { storeProduct { onHand held stock } }
        }"""
        shown = (await owner(document, id=str(stock.id)))["updateStoreProduct"]["storeProduct"]
    assert (shown["onHand"], shown["held"], shown["stock"]) == (3, 2, 1)
