"""Stock of a product in a store (F15, F43, F45g)."""

from typing import Any

import pytest
from sqlalchemy import select, text, update

from db.models import StockAdjustment, StoreProduct
from db.models.accounts import Role
from db.models.promos import PromoStatus
from db.session import Database
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import make_user
from tests.market import Stock, make_promo, make_stock

CREATE = """mutation make($input: StoreProductInput!) {
  createStoreProduct(input: $input) {
    storeProduct {
      id stock onHand held basePrice { amount currency } store { name } product { name }
    }
    userErrors { code field message }
  }
}"""
UPDATE = """mutation change($id: ID!, $input: StoreProductInput!) {
  updateStoreProduct(id: $id, input: $input) {
    storeProduct { id stock onHand held basePrice { amount } } userErrors { code field message }
  }
}"""
DELETE = """mutation r($id: ID!) {
  deleteStoreProduct(id: $id) { deletedId userErrors { code field } }
}"""
ONE = "query one($id: ID!) { storeProduct(id: $id) { id stock onHand held } }"
LIST = """query l($store: ID, $product: ID, $first: Int = 20, $after: String) {
  storeProducts(storeId: $store, productId: $product, first: $first, after: $after) {
    nodes { id onHand } totalCount pageInfo { hasNextPage endCursor }
  }
}"""


async def stock_kept(database: Database) -> list[tuple[int, str]]:
    """Units on hand and price of every row."""
    async with database.read() as reader:
        columns = (StoreProduct.on_hand, StoreProduct.base_price)
        rows = await reader.execute(select(*columns).order_by(StoreProduct.id))
        return [(row[0], str(row[1])) for row in rows]


async def hold(database: Database, stock: Stock, units: int) -> None:
    """Somebody holds so many units."""
    promo = await make_promo(database, stock)
    user = await make_user(database)
    insert = (
        "INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity, "
        "unit_price, created_at, expires_at) VALUES (:token, :promo, :stock, :user, :units, 1, "
        "now(), now() + interval '30 seconds')"
    )
    values = {"promo": promo, "stock": stock.id, "user": user.id, "units": units}
    async with database.transaction() as session:
        await session.execute(text(insert), {"token": f"token {promo}", **values})


async def empty_stock(database: Database, owner_id: Any = None) -> Stock:
    """A store and a product that it does not have."""
    stock = await make_stock(database, owner_id=owner_id)
    async with database.transaction() as session:
        await session.execute(text("DELETE FROM store_products WHERE id = :id"), {"id": stock.id})
    return stock


def wanted(stock: Stock, /, **changes: Any) -> dict[str, Any]:
    whole = {"storeId": str(stock.store_id), "productId": str(stock.product_id), "stock": 5}
    return {**whole, "basePrice": "1999.90", **changes}


async def test_a_merchant_puts_a_product_into_the_store(
    sign_in: SignIn, services: Services
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await empty_stock(services.database, user.id)
    answer = (await owner(CREATE, input=wanted(stock)))["createStoreProduct"]
    assert answer["userErrors"] == []
    made = answer["storeProduct"]
    assert (made["stock"], made["onHand"], made["held"]) == (5, 5, 0)
    assert made["basePrice"] == {"amount": "1999.90", "currency": services.policy.currency}
    assert made["store"]["name"].startswith("Store")
    assert made["product"]["name"].startswith("Product")
    assert (await owner(ONE, id=made["id"]))["storeProduct"]["stock"] == 5


async def test_any_store_may_sell_anybodys_product(sign_in: SignIn, services: Services) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    mine = await make_stock(services.database, owner_id=user.id)
    other = await make_stock(services.database)
    answer = await owner(CREATE, input=wanted(mine, productId=str(other.product_id)))
    assert answer["createStoreProduct"]["userErrors"] == []


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"stock": -1}, [("OUT_OF_RANGE", "stock")]),
        ({"basePrice": "-0.01"}, [("OUT_OF_RANGE", "basePrice")]),
        ({"basePrice": "1000000000000.00"}, [("OUT_OF_RANGE", "basePrice")]),
        ({"basePrice": "1.999"}, [("OUT_OF_RANGE", "basePrice")]),
        ({"basePrice": "1" + "0" * 30}, [("OUT_OF_RANGE", "basePrice")]),
        ({"storeId": "999"}, [("NOT_FOUND", "storeId")]),
        (
            {"productId": "999", "storeId": "999"},
            [("NOT_FOUND", "storeId"), ("NOT_FOUND", "productId")],
        ),
        ({"storeId": None, "stock": None}, [("REQUIRED", "storeId"), ("REQUIRED", "stock")]),
    ],
)
async def test_stock_that_can_not_be_is_refused_by_field(
    sign_in: SignIn,
    services: Services,
    changes: dict[str, Any],
    problems: list[tuple[str, str]],
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await empty_stock(services.database, user.id)
    answer = (await owner(CREATE, input=wanted(stock, **changes)))["createStoreProduct"]
    assert answer["storeProduct"] is None
    assert [(e["code"], e["field"][-1]) for e in answer["userErrors"]] == problems
    assert await stock_kept(services.database) == []


async def test_nothing_said_is_everything_required(sign_in: SignIn) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    answer = (await merchant(CREATE, input={}))["createStoreProduct"]
    assert [(e["code"], e["field"][-1]) for e in answer["userErrors"]] == [
        ("REQUIRED", name) for name in ("storeId", "productId", "stock", "basePrice")
    ]


@pytest.mark.parametrize(
    ("price", "kept"),
    [("0", "0.00"), ("999999999999.99", "999999999999.99"), ("1.500", "1.50")],
)
async def test_prices_are_exact(sign_in: SignIn, services: Services, price: str, kept: str) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await empty_stock(services.database, user.id)
    answer = (await owner(CREATE, input=wanted(stock, basePrice=price)))["createStoreProduct"]
    assert answer["storeProduct"]["basePrice"]["amount"] == kept


async def test_a_store_has_a_product_once(sign_in: SignIn, services: Services) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=3, price="7.00", owner_id=user.id)
    answer = (await owner(CREATE, input=wanted(stock)))["createStoreProduct"]
    assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [
        ("TAKEN", ["input", "productId"])
    ]
    assert await stock_kept(services.database) == [(3, "7.00")]


async def test_stock_and_price_are_changed_and_what_is_left_out_stays(
    sign_in: SignIn, services: Services
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=3, price="7.00", owner_id=user.id)
    same = {"storeId": str(stock.store_id), "productId": str(stock.product_id)}
    assert (await owner(UPDATE, id=str(stock.id), input={**same, "stock": 8}))[
        "updateStoreProduct"
    ]["userErrors"] == []
    assert await stock_kept(services.database) == [(8, "7.00")]
    await owner(UPDATE, id=str(stock.id), input={"basePrice": 6})
    await owner(UPDATE, id=str(stock.id), input={})
    assert await stock_kept(services.database) == [(8, "6.00")]
    async with services.database.read() as reader:
        columns = (StockAdjustment.delta, StockAdjustment.reason, StockAdjustment.by_user_id)
        rows = [tuple(row) for row in await reader.execute(select(*columns))]
    assert rows == [(5, "set to 8", user.id)]


async def test_stock_is_never_set_under_what_is_held(sign_in: SignIn, services: Services) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=5, price="7.00", owner_id=user.id)
    await hold(services.database, stock, 3)
    answer = (await owner(UPDATE, id=str(stock.id), input={"stock": 2}))["updateStoreProduct"]
    (error,) = answer["userErrors"]
    assert (error["code"], error["field"]) == ("OUT_OF_RANGE", ["input", "stock"])
    assert "at least 3" in error["message"]
    assert await stock_kept(services.database) == [(5, "7.00")]
    answer = (await owner(UPDATE, id=str(stock.id), input={"stock": 3}))["updateStoreProduct"]
    shown = answer["storeProduct"]
    assert (shown["onHand"], shown["held"], shown["stock"]) == (3, 3, 0)


@pytest.mark.parametrize("name", ["storeId", "productId"])
async def test_stock_does_not_move_to_another_store_or_product(
    sign_in: SignIn, services: Services, name: str
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=3, price="7.00", owner_id=user.id)
    other = await make_stock(services.database, units=4, price="8.00", owner_id=user.id)
    to = other.store_id if name == "storeId" else other.product_id
    answer = await owner(UPDATE, id=str(stock.id), input={name: str(to), "stock": 9})
    errors = answer["updateStoreProduct"]["userErrors"]
    assert [(e["code"], e["field"]) for e in errors] == [("READ_ONLY", ["input", name])]
    assert await stock_kept(services.database) == [(3, "7.00"), (4, "8.00")]


ALL = [
    (CREATE, "createStoreProduct"),
    (UPDATE, "updateStoreProduct"),
    (DELETE, "deleteStoreProduct"),
]


@pytest.mark.parametrize(("document", "name"), ALL)
async def test_stock_of_somebody_elses_store_is_forbidden_and_unchanged(
    sign_in: SignIn, services: Services, document: str, name: str
) -> None:
    """The owner of a product has no say in the stores that sell it."""
    other, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=3, price="7.00")
    mine = await empty_stock(services.database, user.id)
    async with services.database.transaction() as session:
        await session.execute(
            text("UPDATE products SET owner_id = :me WHERE id = :id"),
            {"me": user.id, "id": stock.product_id},
        )
    new = wanted(stock, productId=str(mine.product_id))
    answer = await other(document, id=str(stock.id), input=new if name[0] == "c" else {"stock": 0})
    assert answer.code == "FORBIDDEN"
    assert await stock_kept(services.database) == [(3, "7.00")]


@pytest.mark.parametrize(("document", "name"), ALL)
async def test_stock_needs_a_merchant(
    sign_in: SignIn, api: Api, services: Services, document: str, name: str
) -> None:
    person, user = await sign_in(Role.USER)
    stock = await make_stock(services.database, units=3, price="7.00", owner_id=user.id)
    variables: dict[str, Any] = {"id": str(stock.id), "input": {"stock": 0}}
    assert (await person(document, **variables)).code == "FORBIDDEN"
    assert (await api(document, **variables)).code == "UNAUTHENTICATED"
    assert await stock_kept(services.database) == [(3, "7.00")]


@pytest.mark.parametrize(("document", "name"), ALL[1:])
async def test_stock_that_is_not_there_is_not_found(
    sign_in: SignIn, document: str, name: str
) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    answer = await merchant(document, id="999", input={"stock": 1})
    errors = answer[name]["userErrors"]
    assert [(e["code"], e["field"]) for e in errors] == [("NOT_FOUND", ["id"])]
    assert (await merchant(ONE, id="999"))["storeProduct"] is None


async def test_stock_is_taken_out_of_the_store(sign_in: SignIn, services: Services) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=user.id)
    async with services.database.transaction() as session:
        await session.execute(update(StoreProduct).values(on_hand=1))
    adjusted = "mutation a($id: ID!) { adjustStock(storeProductId: $id, delta: 1) { __typename } }"
    await owner(adjusted, id=str(stock.id))  # what was written down about it goes with it
    shown = (await owner(ONE, id=str(stock.id)))["storeProduct"]
    answer = (await owner(DELETE, id=str(stock.id)))["deleteStoreProduct"]
    assert answer == {"deletedId": shown["id"], "userErrors": []}
    assert await stock_kept(services.database) == []


@pytest.mark.parametrize("status", [PromoStatus.SCHEDULED, PromoStatus.ENDED])
async def test_stock_that_promos_were_made_of_is_in_use(
    sign_in: SignIn, services: Services, status: PromoStatus
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=3, price="7.00", owner_id=user.id)
    await make_promo(services.database, stock, status=status)
    answer = (await owner(DELETE, id=str(stock.id)))["deleteStoreProduct"]
    assert answer == {"deletedId": None, "userErrors": [{"code": "IN_USE", "field": ["id"]}]}
    assert await stock_kept(services.database) == [(3, "7.00")]


async def test_stock_is_listed_by_store_by_product_and_page_by_page(
    sign_in: SignIn, services: Services
) -> None:
    person, user = await sign_in(Role.ADMIN)
    first = await make_stock(services.database, units=1, owner_id=user.id)
    second = await make_stock(services.database, units=2, owner_id=user.id)
    await person(CREATE, input=wanted(first, productId=str(second.product_id), stock=3))

    async def units(**which: Any) -> list[int]:
        found = (await person(LIST, **which))["storeProducts"]
        assert found["totalCount"] == len(found["nodes"])
        return [node["onHand"] for node in found["nodes"]]

    assert await units() == [1, 2, 3]
    assert await units(store=str(first.store_id)) == [1, 3]
    assert await units(product=str(second.product_id)) == [2, 3]
    assert await units(store=str(first.store_id), product=str(second.product_id)) == [3]
    assert await units(store="999") == []
    page = (await person(LIST, first=2))["storeProducts"]
    assert page["pageInfo"]["hasNextPage"] is True
    rest = (await person(LIST, first=2, after=page["pageInfo"]["endCursor"]))["storeProducts"]
    assert [node["onHand"] for node in rest["nodes"]] == [3]
    assert rest["pageInfo"]["hasNextPage"] is False


@pytest.mark.parametrize(
    "document",
    [
        "{ storeProducts { totalCount } }",
        '{ storeProduct(id: "1") { id } }',
        '{ node(id: "U3RvcmVQcm9kdWN0OjE") { id } }',
    ],
)
async def test_stock_needs_an_account(api: Api, document: str) -> None:
    assert (await api(document)).code == "UNAUTHENTICATED"


async def test_stock_is_a_node(sign_in: SignIn, services: Services) -> None:
    person, _ = await sign_in()
    stock = await make_stock(services.database, units=4)
    shown = (await person(ONE, id=str(stock.id)))["storeProduct"]
    node = "query n($id: ID!) { node(id: $id) { ... on StoreProduct { onHand } } }"
    assert (await person(node, id=shown["id"]))["node"] == {"onHand": 4}


async def test_the_promos_of_stock_come_newest_first_and_by_status(
    sign_in: SignIn, services: Services
) -> None:
    person, _ = await sign_in()
    stock = await make_stock(services.database)
    for status in (PromoStatus.ENDED, PromoStatus.SCHEDULED, PromoStatus.ACTIVE):
        await make_promo(services.database, stock, status=status)
    await make_promo(services.database)  # of other stock
    document = """query p($id: ID!, $status: PromoStatus, $after: String) {
      storeProduct(id: $id) {
        promos(status: $status, first: 2, after: $after) {
          totalCount nodes { id } pageInfo { endCursor hasNextPage }
        }
      }
    }"""
    page = (await person(document, id=str(stock.id)))["storeProduct"]["promos"]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (3, True)
    after = page["pageInfo"]["endCursor"]
    rest = (await person(document, id=str(stock.id), after=after))["storeProduct"]["promos"]
    assert len({node["id"] for node in page["nodes"] + rest["nodes"]}) == 3
    active = await person(document, id=str(stock.id), status="ACTIVE")
    assert active["storeProduct"]["promos"]["totalCount"] == 1
    assert active["storeProduct"]["promos"]["nodes"] == page["nodes"][:1]
