"""What is on near by: nearest first, exact across pages, and from one index (F45i, F52, F54)."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.models.promos import PromoStatus
from db.queries.eligibility import eligibility_of_promos
from db.queries.nearby import count_eligible, eligible_near, eligible_page
from db.session import Database
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import make_user, right_now
from tests.market import BOGOTA, Stock, make_promo, make_stock, north_of, place_user
from tests.promos.offers import hours, make_hold
from tests.promos.plans import MODES, plan_of, rows_read, scans_of
from tests.statements import counted

PAGE = """
query near($first: Int!, $after: String, $eligibleOnly: Boolean! = true) {
  activePromos(first: $first, after: $after, eligibleOnly: $eligibleOnly) {
    nodes { id eligibility { eligible reasons distanceMeters } }
    pageInfo { hasNextPage endCursor }
    totalCount
  }
}
"""
EVERYTHING = """
query near($first: Int!, $eligibleOnly: Boolean!) {
  activePromos(first: $first, eligibleOnly: $eligibleOnly) {
    nodes {
      id price { amount } remaining eligibility { eligible reasons }
      storeProduct { stock store { name } product { name } }
    }
  }
}
"""
METERS_PER_DEGREE_EAST = 110_957.0
"""At the market's latitude, on WGS 84."""


def east_of(place: tuple[float, float], meters: float) -> tuple[float, float]:
    return (place[0], place[1] + meters / METERS_PER_DEGREE_EAST)


async def near(api: Api, first: int = 20, **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await api(PAGE, first=first, **arguments))["activePromos"]
    return answer


async def all_pages(api: Api, first: int, **arguments: Any) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    after, more = None, True
    while more:
        page = await near(api, first, after=after, **arguments)
        seen += page["nodes"]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    return seen


def ids(nodes: list[dict[str, Any]]) -> list[str]:
    return [node["id"] for node in nodes]


@pytest.fixture
async def me(services: Services, sign_in: SignIn) -> tuple[Api, UUID]:
    """Somebody in the middle of the market."""
    api, user = await sign_in()
    await place_user(services.database, user.id)
    return api, user.id


async def promo_at(database: Database, place: tuple[float, float], **terms: Any) -> int:
    return await make_promo(database, await make_stock(database, place=place), **terms)


async def keys(api: Api, promos: list[int]) -> list[str]:
    """Global ids."""
    query = "query p($id: ID!) { promo(id: $id) { id } }"
    return [(await api(query, id=str(promo)))["promo"]["id"] for promo in promos]


async def test_the_nearest_comes_first(services: Services, me: tuple[Api, UUID]) -> None:
    api, _ = me
    far, middle, close = [
        await promo_at(services.database, north_of(BOGOTA, meters)) for meters in (1500, 900, 20)
    ]
    page = await near(api)
    assert ids(page["nodes"]) == await keys(api, [close, middle, far])
    assert page["totalCount"] == 3


async def test_nearness_is_that_of_the_globe_and_not_of_a_sphere(
    services: Services, me: tuple[Api, UUID]
) -> None:
    """North and east differ by half a percent on the sphere that the index measures on."""
    api, _ = me
    north = await promo_at(services.database, north_of(BOGOTA, 1_000))
    east = await promo_at(services.database, east_of(BOGOTA, 1_002))
    page = await near(api)
    assert ids(page["nodes"]) == await keys(api, [north, east])
    first = await near(api, 1)
    assert ids(first["nodes"]) == await keys(api, [north])


async def test_pages_are_exact_where_many_promos_share_a_point(
    services: Services, me: tuple[Api, UUID]
) -> None:
    api, _ = me
    stock = await make_stock(services.database)
    promos = [await make_promo(services.database, stock) for _ in range(60)]
    seen = await all_pages(api, 20)
    assert ids(seen) == await keys(api, promos)


async def test_pages_are_exact_where_distances_differ(
    services: Services, me: tuple[Api, UUID]
) -> None:
    api, _ = me
    for number in range(12):
        away = north_of if number % 2 else east_of
        await promo_at(services.database, away(BOGOTA, 1_000 + number))
    seen = await all_pages(api, 5)
    distances = [node["eligibility"]["distanceMeters"] for node in seen]
    assert distances == sorted(distances)
    assert len(set(ids(seen))) == 12


@pytest.mark.parametrize(
    "terms",
    [
        {"status": PromoStatus.SCHEDULED},
        {"status": PromoStatus.ENDED},
        {"status": PromoStatus.CANCELLED},
        {"starts_at": hours(1), "ends_at": hours(2)},
        {"starts_at": hours(-2), "ends_at": hours(-1)},
        {"radius_m": 900},
        {"segments": ["FREQUENT"]},
        {"units": 0},
        {"taken_by_others": 3, "quota": 3},
        {"taken_by_me": 1, "max_per_user": 1},
    ],
)
async def test_what_is_not_open_to_the_caller_is_left_out(
    services: Services, me: tuple[Api, UUID], terms: dict[str, Any]
) -> None:
    api, user = me
    taken_by_others, taken_by_me = terms.pop("taken_by_others", 0), terms.pop("taken_by_me", 0)
    stock = await make_stock(
        services.database, units=terms.pop("units", 10), place=north_of(BOGOTA, 1_000)
    )
    promo = await make_promo(services.database, stock, **terms)
    if taken_by_others:
        other = await make_user(services.database)
        await make_hold(services.database, promo, other.id, quantity=taken_by_others)
    if taken_by_me:
        await make_hold(services.database, promo, user, quantity=taken_by_me)
    open_one = await make_promo(services.database, await make_stock(services.database))
    page = await near(api)
    assert ids(page["nodes"]) == await keys(api, [open_one])
    assert page["totalCount"] == 1


async def test_the_list_and_the_decision_agree(database: Database) -> None:
    """Of promos of all kinds, those are listed that have no reason against them."""
    user = await make_user(database, now=right_now() - timedelta(days=100))
    await place_user(database, user.id, is_new_user=False, is_frequent=True)
    all_promos = []
    for meters in (0, 500, 1_999, 2_001):
        stock = await make_stock(database, units=3, place=north_of(BOGOTA, meters))
        all_promos += [
            await make_promo(database, stock, segments=segments, **terms)
            for segments in ([], ["NEW"], ["FREQUENT"], ["NEW", "FREQUENT"])
            for terms in ({}, {"quota": 0}, {"radius_m": 600}, {"ends_at": hours(-0.5)})
        ]
    now = right_now()
    async with database.read() as reader:
        listed = await eligible_near(reader, user.id, now=now, after=None, limit=100)
        count = await count_eligible(reader, user.id, now=now)
        decided = await eligibility_of_promos(reader, all_promos, user_id=user.id, now=now)
    open_ones = {promo for promo, found in decided.items() if found.eligible}
    assert {row.promo.id for row in listed} == open_ones
    assert count == len(open_ones) == 15
    for row in listed:
        assert row.distance_meters == decided[row.promo.id].distance_meters


async def test_the_others_are_listed_with_reasons_when_asked_for(
    services: Services, me: tuple[Api, UUID]
) -> None:
    api, _ = me
    far = await promo_at(services.database, north_of(BOGOTA, 9_000))
    close = await promo_at(services.database, BOGOTA)
    late = await promo_at(
        services.database, north_of(BOGOTA, 10), starts_at=hours(-2), ends_at=hours(-1)
    )
    await promo_at(services.database, BOGOTA, status=PromoStatus.SCHEDULED)
    page = await near(api, eligibleOnly=False)
    assert ids(page["nodes"]) == await keys(api, [close, late, far])
    assert [node["eligibility"]["reasons"] for node in page["nodes"]] == [
        [],
        ["OUTSIDE_SCHEDULE"],
        ["TOO_FAR"],
    ]
    assert page["totalCount"] == 3


async def test_without_a_location_nothing_is_open_and_all_is_listed_by_age(
    services: Services, sign_in: SignIn
) -> None:
    api, _ = await sign_in()
    promos = [await make_promo(services.database) for _ in range(5)]
    assert (await near(api))["nodes"] == []
    seen = await all_pages(api, 2, eligibleOnly=False)
    assert ids(seen) == await keys(api, promos)
    assert {node["eligibility"]["distanceMeters"] for node in seen} == {None}
    assert {tuple(node["eligibility"]["reasons"]) for node in seen} == {("NO_LOCATION",)}


async def test_a_promo_moves_with_its_store(services: Services, me: tuple[Api, UUID]) -> None:
    api, _ = me
    stock = await make_stock(services.database)
    await make_promo(services.database, stock)
    assert len((await near(api))["nodes"]) == 1
    async with services.database.transaction() as session:
        await session.execute(text("UPDATE stores SET geom = ST_MakePoint(0, 0)::geography"))
    assert (await near(api))["nodes"] == []


@pytest.mark.parametrize("eligible_only", [True, False])
async def test_a_list_with_its_stock_takes_four_statements_whatever_its_length(
    services: Services, me: tuple[Api, UUID], eligible_only: bool
) -> None:
    api, _ = me
    for _ in range(40):
        await make_promo(services.database)
    for first in (2, 40):
        with counted(services.database) as statements:
            answer = await api(EVERYTHING, first=first, eligibleOnly=eligible_only)
            assert len(answer["activePromos"]["nodes"]) == first
        assert len(statements) <= 4


@pytest.mark.parametrize("after", ["", "W10", "WzEsMl0", "WyJhIiwxXQ", "WzEuMCwiYSJd"])
async def test_a_cursor_of_another_list_is_bad_user_input(api: Api, me: Any, after: str) -> None:
    answer = await me[0](PAGE, first=1, after=after)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == ["after"]


CITY = """
    INSERT INTO flash_promos (store_product_id, geom, starts_at, ends_at, status)
    SELECT :stock, 'SRID=4326;POINT(0 0)', now() - interval '1 hour', now() + interval '1 hour',
           CASE WHEN number % 2 = 0 THEN 'ACTIVE' ELSE 'ENDED' END
    FROM generate_series(1, 6000) number
"""
SCATTER = """
    UPDATE flash_promos
    SET geom = ST_Project('SRID=4326;POINT(-74.06 4.65)'::geography, id * 37 % 15000, id)
"""


class TestAmongThousands:
    @pytest.fixture
    async def city(self, database: Database) -> Stock:
        """3,000 active promos and as many others, all over a city."""
        stock = await make_stock(database, units=1_000)
        async with database.transaction() as session:
            await session.execute(text(CITY), {"stock": stock.id})
            await session.execute(text(SCATTER))
        async with database.transaction() as session:
            await session.execute(text("ANALYZE"))
        return stock

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("behind", [False, True])
    async def test_a_page_reads_little_more_than_itself_from_the_index(
        self, database: Database, city: Stock, mode: str, behind: bool
    ) -> None:
        user = await make_user(database)
        await place_user(database, user.id)
        values = {"user_id": user.id, "now": right_now(), "limit": 21}
        values |= {"after_distance": 100.0, "after_id": 1} if behind else {}
        nodes = await plan_of(database, eligible_page(behind), mode, values)
        scans = scans_of(nodes, "flash_promos", "first", "near")
        assert [scan["Index Name"] for scan in scans] == ["flash_promos_active_near_idx"] * 2
        assert [scan["Node Type"] for scan in scans] == ["Index Scan"] * 2
        assert [scan["Alias"] for scan in scans if "Order By" in scan] == ["first"]
        assert sum(scan["Actual Rows"] for scan in scans) >= 21
        assert max(rows_read(scan) for scan in scans) < 100
        sorts = [node for node in nodes if node["Node Type"].endswith("Sort")]
        assert max(sort["Plans"][0]["Actual Rows"] for sort in sorts) < 100

    @pytest.mark.parametrize("mode", MODES)
    async def test_where_nothing_is_near_nothing_is_read(
        self, database: Database, city: Stock, mode: str
    ) -> None:
        user = await make_user(database)
        await place_user(database, user.id, (40.0, 116.0))
        values = {"user_id": user.id, "now": right_now(), "limit": 21}
        nodes = await plan_of(database, eligible_page(False), mode, values)
        scans = scans_of(nodes, "flash_promos")
        assert {"first", "near"} <= {scan["Alias"] for scan in scans}
        assert sum(rows_read(scan) for scan in scans) == 0
