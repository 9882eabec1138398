"""Products: entering, finding, changing and removing them (F1, F13, F42, F43, F45a-e)."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from db.models import Product
from db.models.accounts import Role
from db.session import Database
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import make_user
from tests.market import make_stock

CREATE = """mutation make($input: ProductInput!) {
  createProduct(input: $input) {
    product { id name description createdAt updatedAt }
    userErrors { code field message }
  }
}"""
UPDATE = """mutation change($id: ID!, $input: ProductInput!) {
  updateProduct(id: $id, input: $input) {
    product { id name description } userErrors { code field message }
  }
}"""
DELETE = """mutation remove($id: ID!) {
  deleteProduct(id: $id) { deletedId userErrors { code field message } }
}"""
LIST = """query list($first: Int!, $after: String, $search: String) {
  products(first: $first, after: $after, search: $search) {
    nodes { id name } totalCount pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}"""
ONE = "query one($id: ID!) { product(id: $id) { id name description } }"


async def enter(database: Database, *names: str, owner_id: UUID | None = None) -> list[int]:
    async with database.transaction() as session:
        products = [Product(name=name, owner_id=owner_id) for name in names]
        session.add_all(products)
        await session.flush()
        return [product.id for product in products]


async def names_kept(database: Database) -> list[str]:
    async with database.read() as reader:
        return list((await reader.execute(select(Product.name).order_by(Product.id))).scalars())


async def test_anybody_signed_in_enters_a_product_and_owns_it(
    sign_in: SignIn, database: Database
) -> None:
    person, user = await sign_in(Role.USER)
    answer = await person(CREATE, input={"name": "  Café  ", "description": "Whole beans"})
    assert answer["createProduct"]["userErrors"] == []
    made = answer["createProduct"]["product"]
    assert (made["name"], made["description"]) == ("Café", "Whole beans")
    assert made["createdAt"] == made["updatedAt"]
    async with database.read() as reader:
        assert (await reader.execute(select(Product.owner_id))).scalar_one() == user.id
    assert (await person(ONE, id=made["id"]))["product"]["name"] == "Café"


@pytest.mark.parametrize(
    ("input_", "code", "field"),
    [
        ({}, "REQUIRED", ["input", "name"]),
        ({"name": None}, "REQUIRED", ["input", "name"]),
        ({"name": " \t "}, "REQUIRED", ["input", "name"]),
        ({"name": "\u200b \u202e"}, "REQUIRED", ["input", "name"]),
        ({"name": "x" * 201}, "OUT_OF_RANGE", ["input", "name"]),
        ({"name": "a\x07b"}, "INVALID", ["input", "name"]),
        ({"name": "a", "description": "x" * 2_001}, "OUT_OF_RANGE", ["input", "description"]),
    ],
)
async def test_a_product_that_can_not_be_is_refused_by_field(
    sign_in: SignIn, database: Database, input_: dict[str, Any], code: str, field: list[str]
) -> None:
    person, _ = await sign_in()
    answer = (await person(CREATE, input=input_))["createProduct"]
    assert answer["product"] is None
    assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [(code, field)]
    assert field[-1] in answer["userErrors"][0]["message"]
    assert await names_kept(database) == []


async def test_everything_that_is_wrong_is_told_at_once(sign_in: SignIn) -> None:
    person, _ = await sign_in()
    answer = (await person(CREATE, input={"name": "", "description": "x" * 3_000}))["createProduct"]
    assert [e["field"][-1] for e in answer["userErrors"]] == ["name", "description"]


@pytest.mark.parametrize("name", ["x" * 200, "می‌خواهم", "👨‍👩‍👧", "ñandú 100% _real_"])
async def test_a_name_may_be_long_and_in_any_script(sign_in: SignIn, name: str) -> None:
    person, _ = await sign_in()
    answer = (await person(CREATE, input={"name": name}))["createProduct"]
    assert answer["userErrors"] == []
    assert answer["product"]["name"] == name


async def test_what_is_left_out_stays_and_null_removes(sign_in: SignIn, services: Services) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    (product,) = await enter(services.database, "Tea", owner_id=user.id)
    changed = await owner(UPDATE, id=str(product), input={"description": "Green"})
    shown = changed["updateProduct"]["product"]
    assert (shown["name"], shown["description"]) == ("Tea", "Green")
    changed = await owner(UPDATE, id=shown["id"], input={"name": "Oolong", "description": None})
    assert changed["updateProduct"]["product"] == {
        "id": shown["id"], "name": "Oolong", "description": None
    }  # fmt: skip
    same = await owner(UPDATE, id=shown["id"], input={})
    assert same["updateProduct"]["product"]["name"] == "Oolong"


async def test_a_name_can_not_be_taken_away(sign_in: SignIn, services: Services) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    (product,) = await enter(services.database, "Tea", owner_id=user.id)
    answer = (await owner(UPDATE, id=str(product), input={"name": None}))["updateProduct"]
    assert [e["code"] for e in answer["userErrors"]] == ["REQUIRED"]
    assert await names_kept(services.database) == ["Tea"]


@pytest.mark.parametrize("document", [UPDATE, DELETE])
async def test_somebody_elses_product_is_forbidden_and_unchanged(
    sign_in: SignIn, services: Services, document: str
) -> None:
    other, _ = await sign_in(Role.MERCHANT)
    owner = await make_user(services.database)
    for owner_id in (owner.id, None):
        (product,) = await enter(services.database, "Tea", owner_id=owner_id)
        variables = {"input": {"name": "Mine"}} if document == UPDATE else {}
        assert (await other(document, id=str(product), **variables)).code == "FORBIDDEN"
    assert await names_kept(services.database) == ["Tea", "Tea"]


async def test_an_admin_changes_and_removes_what_nobody_owns(
    sign_in: SignIn, services: Services
) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    (product,) = await enter(services.database, "Tea")
    changed = await admin(UPDATE, id=str(product), input={"name": "Oolong"})
    assert changed["updateProduct"]["product"]["name"] == "Oolong"
    assert (await admin(DELETE, id=str(product)))["deleteProduct"]["userErrors"] == []
    assert await names_kept(services.database) == []


@pytest.mark.parametrize("document", [UPDATE, DELETE])
async def test_changing_products_needs_a_merchant(
    sign_in: SignIn, services: Services, document: str
) -> None:
    person, user = await sign_in(Role.USER)
    (product,) = await enter(services.database, "Tea", owner_id=user.id)
    variables = {"input": {"name": "Mine"}} if document == UPDATE else {}
    assert (await person(document, id=str(product), **variables)).code == "FORBIDDEN"
    assert await names_kept(services.database) == ["Tea"]


@pytest.mark.parametrize("document", [UPDATE, DELETE])
async def test_a_product_that_is_not_there_is_not_found(sign_in: SignIn, document: str) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    variables = {"input": {"name": "x"}} if document == UPDATE else {}
    answer = await merchant(document, id="999", **variables)
    (errors,) = [payload["userErrors"] for payload in (answer.data or {}).values()]
    assert [(e["code"], e["field"]) for e in errors] == [("NOT_FOUND", ["id"])]


async def test_a_product_is_removed_and_its_id_returned(
    sign_in: SignIn, services: Services
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    (product,) = await enter(services.database, "Tea", owner_id=user.id)
    shown = (await owner(ONE, id=str(product)))["product"]
    assert (await owner(DELETE, id=str(product)))["deleteProduct"] == {
        "deletedId": shown["id"], "userErrors": []
    }  # fmt: skip
    assert (await owner(ONE, id=str(product)))["product"] is None


async def test_a_product_that_a_store_has_is_in_use(sign_in: SignIn, services: Services) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=user.id)
    answer = (await owner(DELETE, id=str(stock.product_id)))["deleteProduct"]
    assert answer["deletedId"] is None
    assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [("IN_USE", ["id"])]
    async with services.database.read() as reader:
        count = await reader.execute(select(func.count()).select_from(Product))
        assert count.scalar_one() == 1


async def test_products_are_paged_in_the_order_of_entry(
    sign_in: SignIn, services: Services
) -> None:
    person, _ = await sign_in()
    names = [f"Product {number}" for number in range(5)]
    await enter(services.database, *names)
    seen: list[str] = []
    after, more = None, True
    while more:
        page = (await person(LIST, first=2, after=after))["products"]
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        assert page["totalCount"] == 5
        seen += [node["name"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert seen == names


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("café", ["Café 50%", "CAFÉ_OLÉ"]),
        ("50%", ["Café 50%"]),
        ("%", ["Café 50%"]),
        ("_", ["CAFÉ_OLÉ"]),
        ("\\", ["Tea\\Milk"]),
        ("/", ["Milk/Tea"]),
        ("tea", ["Tea\\Milk", "Milk/Tea"]),
        ("'; DROP TABLE products", []),
        ("", ["Café 50%", "CAFÉ_OLÉ", "Tea\\Milk", "Milk/Tea"]),
    ],
)
async def test_search_finds_exactly_these_letters_whatever_the_case(
    sign_in: SignIn, services: Services, search: str, found: list[str]
) -> None:
    person, _ = await sign_in()
    await enter(services.database, "Café 50%", "CAFÉ_OLÉ", "Tea\\Milk", "Milk/Tea")
    answer = (await person(LIST, first=10, search=search))["products"]
    assert [node["name"] for node in answer["nodes"]] == found
    assert answer["totalCount"] == len(found)


async def test_a_search_that_is_too_long_is_named(sign_in: SignIn) -> None:
    person, _ = await sign_in()
    answer = await person(LIST, first=1, search="x" * 201)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == ["search"]


@pytest.mark.parametrize(
    "document",
    [
        "{ products { totalCount } }",
        '{ product(id: "1") { id } }',
        '{ node(id: "UHJvZHVjdDox") { id } }',
        'mutation { createProduct(input: {name: "x"}) { product { id } } }',
        'mutation { updateProduct(id: "1", input: {name: "x"}) { product { id } } }',
        'mutation { deleteProduct(id: "1") { deletedId } }',
    ],
)
async def test_products_need_an_account(api: Api, database: Database, document: str) -> None:
    assert (await api(document)).code == "UNAUTHENTICATED"
    assert await names_kept(database) == []


async def test_a_product_is_a_node(sign_in: SignIn, services: Services) -> None:
    person, _ = await sign_in()
    (product,) = await enter(services.database, "Tea")
    shown = (await person(ONE, id=str(product)))["product"]
    node = "query n($id: ID!) { node(id: $id) { id ... on Product { name } } }"
    assert (await person(node, id=shown["id"]))["node"] == {"id": shown["id"], "name": "Tea"}


async def test_the_id_of_something_else_is_bad_user_input(
    sign_in: SignIn, services: Services
) -> None:
    person, _ = await sign_in()
    stock = await make_stock(services.database)
    store = await person("query s($id: ID!) { store(id: $id) { id } }", id=str(stock.store_id))
    answer = await person(ONE, id=store["store"]["id"])
    assert answer.code == "BAD_USER_INPUT"
    assert "Store" in answer.errors[0]["message"]
