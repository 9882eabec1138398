"""However many rows are asked for, the statements stay as few."""

import pytest

from db.models.accounts import Role
from schema.edge.services import Services
from tests.clients import SignIn
from tests.market import make_promo, make_stock, place_user
from tests.statements import counted

MOST_STATEMENTS = 4

DOCUMENTS = {
    "products": """query q($first: Int!) { products(first: $first) { nodes {
      name storeProducts(first: 5) { nodes {
        stock basePrice { amount } store { name location { latitude } } product { name }
      } totalCount }
    } } }""",
    "stores": """query q($first: Int!) { stores(first: $first) { nodes {
      name distanceMeters
      storeProducts(first: 5) { nodes { stock store { name } product { name } } }
    } } }""",
    "near": """query q($first: Int!) {
      stores(first: $first, near: {latitude: 4.65, longitude: -74.06}) {
        totalCount nodes { name distanceMeters(from: {latitude: 4, longitude: -74}) }
      }
    }""",
    "owners": """query q($first: Int!) { storeProducts(first: $first) { nodes {
      store { name owner { username } } product { name }
    } totalCount } }""",
    "promos": """query q($first: Int!) { storeProducts(first: $first) { nodes {
      store { name } product { name } promos(first: 3) { nodes { id } totalCount }
    } } }""",
}


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_a_list_takes_as_many_statements_for_thirty_rows_as_for_three(
    sign_in: SignIn, services: Services, name: str
) -> None:
    admin, user = await sign_in(Role.ADMIN)
    await place_user(services.database, user.id)
    for _ in range(30):
        await make_promo(services.database, await make_stock(services.database))
    figures = []
    for first in (3, 30):
        with counted(services.database) as statements:
            answer = await admin(DOCUMENTS[name], first=first)
            (rows,) = (answer.data or {}).values()
            assert answer.errors == []
            assert len(rows["nodes"]) == first
        figures.append(len(statements))
    assert figures[0] == figures[1] <= MOST_STATEMENTS


async def test_each_parent_gets_its_own_page(sign_in: SignIn, services: Services) -> None:
    merchant, user = await sign_in(Role.MERCHANT)
    stocks = [await make_stock(services.database, owner_id=user.id) for _ in range(3)]
    create = """mutation m($input: StoreProductInput!) {
      createStoreProduct(input: $input) { userErrors { code } }
    }"""
    for stock in stocks[1:]:  # the first store has three products, the others one each
        new = {"storeId": str(stocks[0].store_id), "productId": str(stock.product_id)}
        await merchant(create, input={**new, "stock": 1, "basePrice": "1"})
    pages = """query p($after: String) { stores { nodes {
      storeProducts(first: 2, after: $after) {
        totalCount nodes { id product { id } } pageInfo { hasNextPage endCursor }
      }
    } } }"""
    found = [node["storeProducts"] for node in (await merchant(pages))["stores"]["nodes"]]
    assert [page["totalCount"] for page in found] == [3, 1, 1]
    assert [len(page["nodes"]) for page in found] == [2, 1, 1]
    assert [page["pageInfo"]["hasNextPage"] for page in found] == [True, False, False]
    after = found[0]["pageInfo"]["endCursor"]
    rest = [n["storeProducts"] for n in (await merchant(pages, after=after))["stores"]["nodes"]]
    assert len(rest[0]["nodes"]) == 1
    assert rest[0]["nodes"][0] not in found[0]["nodes"]
