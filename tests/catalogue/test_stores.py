"""Stores: opening, finding, moving and closing them (F1, F14, F43, F45f)."""

from typing import Any

import pytest
from sqlalchemy import func, select

from db.models import Promo, Store
from db.models.accounts import Role
from db.session import Database
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import make_user
from tests.market import BOGOTA, make_promo, make_stock, north_of, place_user

CREATE = """mutation make($input: StoreInput!) {
  createStore(input: $input) {
    store { id name location { latitude longitude } timeZone owner { username } }
    userErrors { code field message }
  }
}"""
UPDATE = """mutation change($id: ID!, $input: StoreInput!) {
  updateStore(id: $id, input: $input) {
    store { id name location { latitude longitude } timeZone } userErrors { code field }
  }
}"""
DELETE = "mutation r($id: ID!) { deleteStore(id: $id) { deletedId userErrors { code field } } }"
ONE = "query one($id: ID!) { store(id: $id) { id name timeZone } }"


def at(latitude: float, longitude: float) -> dict[str, float]:
    return {"latitude": latitude, "longitude": longitude}


HERE = at(*BOGOTA)


async def stores_kept(database: Database) -> list[str]:
    async with database.read() as reader:
        return list((await reader.execute(select(Store.name).order_by(Store.id))).scalars())


async def test_who_opens_a_store_owns_it_and_becomes_merchant(sign_in: SignIn) -> None:
    person, user = await sign_in(Role.USER)
    answer = (await person(CREATE, input={"name": " Corner ", "location": HERE}))["createStore"]
    assert answer["userErrors"] == []
    store = answer["store"]
    assert store["name"] == "Corner"
    assert store["location"] == HERE
    assert store["timeZone"] == "America/Bogota"  # the server's: DEFAULT of TIME_ZONE
    assert store["owner"] == {"username": user.username}
    assert (await person("{ me { role } }"))["me"] == {"role": "MERCHANT"}
    renamed = await person(UPDATE, id=store["id"], input={"name": "Corner 2"})
    assert renamed["updateStore"]["store"]["name"] == "Corner 2"


async def test_an_admin_who_opens_a_store_stays_admin(sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    await admin(CREATE, input={"name": "Corner", "location": HERE, "timeZone": "Asia/Tokyo"})
    assert (await admin("{ me { role } }"))["me"] == {"role": "ADMIN"}


@pytest.mark.parametrize(
    ("input_", "problems"),
    [
        ({}, [("REQUIRED", "name"), ("REQUIRED", "location")]),
        ({"name": "a", "location": None}, [("REQUIRED", "location")]),
        ({"name": "a", "location": at(90.01, 0)}, [("OUT_OF_RANGE", "latitude")]),
        ({"name": "a", "location": at(0, -180.01)}, [("OUT_OF_RANGE", "longitude")]),
        (
            {"name": "a", "location": at(-91, 181)},
            [("OUT_OF_RANGE", "latitude"), ("OUT_OF_RANGE", "longitude")],
        ),
        ({"name": "a", "location": HERE, "timeZone": "Bogota"}, [("INVALID", "timeZone")]),
        ({"name": "a", "location": HERE, "timeZone": "../etc/passwd"}, [("INVALID", "timeZone")]),
    ],
)
async def test_a_store_that_can_not_be_is_refused_by_field(
    sign_in: SignIn, database: Database, input_: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    person, _ = await sign_in(Role.USER)
    answer = (await person(CREATE, input=input_))["createStore"]
    assert answer["store"] is None
    assert [(e["code"], e["field"][-1]) for e in answer["userErrors"]] == problems
    assert await stores_kept(database) == []
    assert (await person("{ me { role } }"))["me"] == {"role": "USER"}


@pytest.mark.parametrize("edge", [(90.0, 180.0), (-90.0, -180.0), (0.0, 0.0)])
async def test_the_ends_of_the_globe_belong_to_it(
    sign_in: SignIn, edge: tuple[float, float]
) -> None:
    person, _ = await sign_in()
    place = at(*edge)
    answer = (await person(CREATE, input={"name": "Edge", "location": place}))["createStore"]
    assert answer["store"]["location"] == place


async def test_a_store_that_moves_takes_its_promos_along(
    sign_in: SignIn, services: Services
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=user.id)
    promo = await make_promo(services.database, stock)
    place = at(6.25, -75.56)
    moved = await owner(UPDATE, id=str(stock.store_id), input={"location": place})
    assert moved["updateStore"]["store"]["location"] == place
    async with services.database.read() as reader:
        where = func.geometry(Promo.geom)
        rows = await reader.execute(
            select(func.ST_Y(where), func.ST_X(where)).where(Promo.id == promo)
        )
        assert tuple(rows.one()) == (6.25, -75.56)


@pytest.mark.parametrize("left", ["name", "location", "timeZone"])
async def test_nothing_of_a_store_can_be_taken_away(
    sign_in: SignIn, services: Services, left: str
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=user.id, name="Corner")
    answer = (await owner(UPDATE, id=str(stock.store_id), input={left: None}))["updateStore"]
    assert answer["userErrors"] == [{"code": "REQUIRED", "field": ["input", left]}]
    assert await stores_kept(services.database) == ["Corner"]


@pytest.mark.parametrize("document", [UPDATE, DELETE])
async def test_somebody_elses_store_is_forbidden_and_unchanged(
    sign_in: SignIn, services: Services, document: str
) -> None:
    other, _ = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, name="Corner")
    variables = {"input": {"name": "Mine"}} if document == UPDATE else {}
    assert (await other(document, id=str(stock.store_id), **variables)).code == "FORBIDDEN"
    assert await stores_kept(services.database) == ["Corner"]


async def test_a_store_with_stock_is_in_use_and_one_without_is_closed(
    sign_in: SignIn, services: Services
) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    stock = await make_stock(services.database, name="Full")
    refused = (await admin(DELETE, id=str(stock.store_id)))["deleteStore"]
    assert refused == {"deletedId": None, "userErrors": [{"code": "IN_USE", "field": ["id"]}]}
    empty = (await admin(CREATE, input={"name": "Empty", "location": HERE}))["createStore"]
    closed = (await admin(DELETE, id=empty["store"]["id"]))["deleteStore"]
    assert closed == {"deletedId": empty["store"]["id"], "userErrors": []}
    assert await stores_kept(services.database) == ["Full"]


@pytest.mark.parametrize("document", [UPDATE, DELETE])
async def test_a_store_that_is_not_there_is_not_found(sign_in: SignIn, document: str) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    variables = {"input": {"name": "x"}} if document == UPDATE else {}
    answer = await merchant(document, id="999", **variables)
    (payload,) = (answer.data or {}).values()
    assert payload["userErrors"] == [{"code": "NOT_FOUND", "field": ["id"]}]
    assert (await merchant(ONE, id="999"))["store"] is None


OWNER = "query o($id: ID!) { store(id: $id) { owner { email profile { timeZone } } } }"


async def test_only_the_owner_and_an_admin_see_whose_store_it_is(
    sign_in: SignIn, services: Services
) -> None:
    owner, user = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=user.id)
    for role, sees in ((Role.ADMIN, True), (Role.MERCHANT, False), (Role.USER, False)):
        person, _ = await sign_in(role)
        shown = (await person(OWNER, id=str(stock.store_id)))["store"]["owner"]
        assert (shown is not None) is sees
    shown = (await owner(OWNER, id=str(stock.store_id)))["store"]["owner"]
    assert shown["email"] == user.email


DISTANCE = """query d($id: ID!, $place: GeoPointInput) {
  store(id: $id) { here: distanceMeters there: distanceMeters(from: $place) }
}"""


async def test_the_distance_is_from_the_point_or_else_from_the_caller(
    sign_in: SignIn, services: Services
) -> None:
    person, user = await sign_in()
    stock = await make_stock(services.database)
    await place_user(services.database, user.id, north_of(BOGOTA, 1_000))
    answer = await person(DISTANCE, id=str(stock.store_id), place=at(*north_of(BOGOTA, 3_000)))
    assert answer["store"]["here"] == pytest.approx(1_000, abs=3)
    assert answer["store"]["there"] == pytest.approx(3_000, abs=3)


async def test_without_any_place_there_is_no_distance(sign_in: SignIn, services: Services) -> None:
    person, _ = await sign_in()
    stock = await make_stock(services.database)
    answer = await person(DISTANCE, id=str(stock.store_id))
    assert answer["store"] == {"here": None, "there": None}


async def test_a_distance_from_nowhere_on_earth_is_named(
    sign_in: SignIn, services: Services
) -> None:
    person, _ = await sign_in()
    stock = await make_stock(services.database)
    answer = await person(DISTANCE, id=str(stock.store_id), place=at(91, 0))
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == ["from", "latitude"]


@pytest.mark.parametrize(
    "document",
    [
        "{ stores { totalCount } }",
        '{ store(id: "1") { id } }',
        '{ node(id: "U3RvcmU6MQ") { id } }',
        'mutation { createStore(input: {name: "x"}) { store { id } } }',
        'mutation { updateStore(id: "1", input: {name: "x"}) { store { id } } }',
        'mutation { deleteStore(id: "1") { deletedId } }',
    ],
)
async def test_stores_need_an_account(api: Api, database: Database, document: str) -> None:
    assert (await api(document)).code == "UNAUTHENTICATED"
    assert await stores_kept(database) == []


async def test_changing_stores_needs_a_merchant(sign_in: SignIn, services: Services) -> None:
    person, _ = await sign_in(Role.USER)
    owner = await make_user(services.database)
    stock = await make_stock(services.database, owner_id=owner.id, name="Corner")
    assert (await person(UPDATE, id=str(stock.store_id), input={"name": "x"})).code == "FORBIDDEN"
    assert (await person(DELETE, id=str(stock.store_id))).code == "FORBIDDEN"
    assert await stores_kept(services.database) == ["Corner"]
