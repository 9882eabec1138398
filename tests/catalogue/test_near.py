"""Stores near a point: nearest first, page by page, out of the index (F3, F7, F45f)."""

import random
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from db.queries.catalogue import Near, nearest_stores
from db.session import Database
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import make_user
from tests.market import BOGOTA, make_stock, north_of

NEAR = """query n($near: GeoPointInput, $within: Float, $first: Int!, $after: String) {
  stores(near: $near, withinMeters: $within, first: $first, after: $after) {
    totalCount
    nodes { id name distanceMeters(from: $near) }
    pageInfo { hasNextPage endCursor }
  }
}"""
HERE = {"latitude": BOGOTA[0], "longitude": BOGOTA[1]}


async def all_pages(person: Api, first: int, **variables: Any) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    after, more = None, True
    while more:
        page = (await person(NEAR, first=first, after=after, **variables))["stores"]
        nodes += page["nodes"]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    return nodes


async def scatter(database: Database, count: int, *, seed: int = 7) -> None:
    """So many stores over the whole globe, some of them at the same places."""
    owner = await make_user(database)
    dice = random.Random(seed)
    rows = [
        {
            "owner": owner.id,
            "name": f"Store {number}",
            "place": f"SRID=4326;POINT({dice.randint(-170, 170)} {dice.randint(-80, 80)})",
        }
        for number in range(count)
    ]
    insert = text(
        "INSERT INTO stores (owner_id, name, geom, time_zone) "
        "VALUES (:owner, :name, ST_GeogFromText(:place), 'UTC')"
    )
    async with database.transaction() as session:
        await session.execute(insert, rows)
    async with database.read() as reader:
        await reader.execute(text("ANALYZE stores"))


async def test_the_nearest_store_comes_first(sign_in: SignIn, services: Services) -> None:
    person, _ = await sign_in()
    for meters in (3_000, 1_000, 2_000):
        place = north_of(BOGOTA, meters)
        await make_stock(services.database, place=place, name=f"{meters} m")
    nodes = await all_pages(person, 10, near=HERE)
    assert [node["name"] for node in nodes] == ["1000 m", "2000 m", "3000 m"]
    assert [node["distanceMeters"] for node in nodes] == pytest.approx([1_000, 2_000, 3_000], abs=6)


async def test_the_radius_holds_to_the_metre(sign_in: SignIn, services: Services) -> None:
    person, _ = await sign_in()
    for meters in (1_999, 2_001):
        place = north_of(BOGOTA, meters)
        await make_stock(services.database, place=place, name=f"{meters} m")
    answer = (await person(NEAR, near=HERE, within=2_000.0, first=10))["stores"]
    assert [node["name"] for node in answer["nodes"]] == ["1999 m"]
    assert answer["totalCount"] == 1


async def test_stores_at_the_same_place_are_paged_one_by_one(
    sign_in: SignIn, services: Services
) -> None:
    person, _ = await sign_in()
    for number in range(7):
        await make_stock(services.database, name=f"Stall {number}")
    nodes = await all_pages(person, 2, near=HERE)
    assert [node["name"] for node in nodes] == [f"Stall {number}" for number in range(7)]


@pytest.mark.parametrize("within", [None, 10_000_000.0])
async def test_pages_hold_every_store_once_in_the_order_of_true_distance(
    sign_in: SignIn, services: Services, within: float | None
) -> None:
    person, _ = await sign_in()
    await scatter(services.database, 150)
    nodes = await all_pages(person, 7, near=HERE, within=within)
    async with services.database.read() as reader:
        here = f"ST_GeogFromText('SRID=4326;POINT({BOGOTA[1]} {BOGOTA[0]})')"
        condition = f"WHERE ST_DWithin(geom, {here}, {within})" if within else ""
        query = f"SELECT name FROM stores {condition} ORDER BY ST_Distance(geom, {here}), id"
        true_order = list((await reader.execute(text(query))).scalars())
    assert 20 < len(true_order) <= 150
    assert [node["name"] for node in nodes] == true_order


async def test_the_index_hands_out_the_nearest(services: Services) -> None:
    await scatter(services.database, 4_000)
    statement = nearest_stores(21, Near(*BOGOTA, within_m=None), after=None)
    compiled = statement.compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
    async with services.database.read() as reader:
        rows = await reader.execute(text("EXPLAIN " + str(compiled).replace(":", r"\:")))
        plan = "\n".join(rows.scalars())
    assert "Index Scan using stores_geom_idx on stores" in plan
    assert "Order By: (geom <-> " in plan
    assert "Seq Scan on stores" not in plan


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"within": 10.0}, ["withinMeters"]),
        ({"near": HERE, "within": 0.0}, ["withinMeters"]),
        ({"near": HERE, "within": -1.0}, ["withinMeters"]),
        ({"near": HERE, "within": 1e9}, ["withinMeters"]),
        ({"near": {"latitude": 90.5, "longitude": 0}}, ["near", "latitude"]),
        ({"near": {"latitude": 0, "longitude": 180.5}}, ["near", "longitude"]),
        ({"near": HERE, "after": "WzFd"}, ["after"]),
        ({"after": "WzEuMCwxXQ"}, ["after"]),
    ],
)
async def test_a_wrong_way_of_asking_is_named(
    sign_in: SignIn, arguments: dict[str, Any], field: list[str]
) -> None:
    person, _ = await sign_in()
    answer = await person(NEAR, first=5, **arguments)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == field


async def test_without_a_point_stores_come_in_the_order_of_entry(
    sign_in: SignIn, services: Services
) -> None:
    person, _ = await sign_in()
    for number in range(3):
        place = north_of(BOGOTA, 1_000 * (3 - number))
        await make_stock(services.database, place=place, name=f"Store {number}")
    nodes = await all_pages(person, 2)
    assert [node["name"] for node in nodes] == ["Store 0", "Store 1", "Store 2"]
