"""Why a promo is or is not open to somebody: the decision, and the facts it rests on (F3, F52)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete

from db.models import Profile
from db.models.promos import PromoStatus
from db.queries.eligibility import Facts, eligibility_of_promos, eligibility_of_users, reasons
from db.session import Database
from schema.edge.services import Services
from tests.clients import SignIn
from tests.factories import make_user, right_now
from tests.market import BOGOTA, make_promo, make_stock, north_of, place_user
from tests.promos.offers import hours, make_hold, make_purchases
from tests.statements import counted

NOW = right_now()
MOMENT = timedelta(microseconds=1)
OPEN = Facts(
    status="ACTIVE",
    starts_at=NOW - timedelta(hours=1),
    ends_at=NOW + timedelta(hours=1),
    segments=["NEW"],
    has_profile=True,
    distance_meters=1_999.0,
    within_radius=True,
    is_new=True,
    is_frequent=False,
    remaining=1,
    max_per_user=2,
    taken=1,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        ({"status": "SCHEDULED"}, ("NOT_ACTIVE",)),
        ({"status": "ENDED"}, ("NOT_ACTIVE",)),
        ({"status": "CANCELLED"}, ("NOT_ACTIVE",)),
        ({"starts_at": NOW}, ()),
        ({"starts_at": NOW + MOMENT}, ("OUTSIDE_SCHEDULE",)),
        ({"ends_at": NOW}, ()),
        ({"ends_at": NOW - MOMENT}, ("OUTSIDE_SCHEDULE",)),
        (
            {"has_profile": False, "distance_meters": None, "within_radius": None},
            ("NO_PROFILE",),
        ),
        ({"distance_meters": None, "within_radius": None}, ("NO_LOCATION",)),
        ({"within_radius": False}, ("TOO_FAR",)),
        ({"segments": ["FREQUENT"]}, ("WRONG_SEGMENT",)),
        ({"segments": ["FREQUENT", "NEW"]}, ()),
        ({"segments": ["FREQUENT"], "is_frequent": True}, ()),
        ({"segments": [], "is_new": False}, ()),
        ({"remaining": 0}, ("OUT_OF_STOCK",)),
        ({"taken": 2}, ("LIMIT_REACHED",)),
        ({"taken": 3}, ("LIMIT_REACHED",)),
        ({"taken": 99, "max_per_user": None}, ()),
        (
            {"status": "ENDED", "within_radius": False, "remaining": 0, "taken": 2},
            ("NOT_ACTIVE", "TOO_FAR", "OUT_OF_STOCK", "LIMIT_REACHED"),
        ),
    ],
)
def test_every_reason_is_told(changes: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert reasons(replace(OPEN, **changes), NOW) == expected


async def person(database: Database, meters: float = 0) -> UUID:
    """Somebody so far north of the market."""
    user = await make_user(database)
    await place_user(database, user.id, north_of(BOGOTA, meters))
    return user.id


async def why_not(database: Database, promo_id: int, user_id: UUID) -> tuple[str, ...]:
    async with database.read() as reader:
        found = await eligibility_of_promos(reader, [promo_id], user_id=user_id, now=right_now())
        same = await eligibility_of_users(reader, [user_id], promo_id=promo_id, now=right_now())
    assert found[promo_id] == same[user_id]
    return found[promo_id].reasons


async def test_two_kilometres_reach_as_far_as_that_on_the_globe(database: Database) -> None:
    promo = await make_promo(database)
    assert await why_not(database, promo, await person(database, 1_999)) == ()
    assert await why_not(database, promo, await person(database, 2_001)) == ("TOO_FAR",)


async def test_the_radius_is_the_promos_own(database: Database) -> None:
    promo = await make_promo(database, radius_m=100)
    assert await why_not(database, promo, await person(database, 99)) == ()
    assert await why_not(database, promo, await person(database, 101)) == ("TOO_FAR",)


async def test_the_distance_is_told_in_metres_of_the_globe(database: Database) -> None:
    promo, user = await make_promo(database), await person(database, 1_500)
    async with database.read() as reader:
        found = await eligibility_of_promos(reader, [promo], user_id=user, now=right_now())
    assert found[promo].distance_meters == pytest.approx(1_500, abs=0.5)


async def test_without_a_location_or_a_profile_there_is_no_distance(database: Database) -> None:
    promo, user = await make_promo(database), await make_user(database)
    assert await why_not(database, promo, user.id) == ("NO_LOCATION",)
    async with database.transaction() as session:
        await session.execute(delete(Profile).where(Profile.user_id == user.id))
    assert await why_not(database, promo, user.id) == ("NO_PROFILE",)


async def test_state_and_schedule_are_told_apart(database: Database) -> None:
    user = await person(database)
    not_begun = await make_promo(
        database, status=PromoStatus.SCHEDULED, starts_at=hours(1), ends_at=hours(2)
    )
    assert await why_not(database, not_begun, user) == ("NOT_ACTIVE", "OUTSIDE_SCHEDULE")
    just_over = await make_promo(database, ends_at=right_now() - MOMENT)
    assert await why_not(database, just_over, user) == ("OUTSIDE_SCHEDULE",)


@pytest.mark.parametrize("terms", [{"units": 1}, {"units": 5, "quota": 1}])
async def test_stock_and_quota_run_out(database: Database, terms: dict[str, Any]) -> None:
    promo, user = await make_promo(database, **terms), await person(database)
    assert await why_not(database, promo, user) == ()
    await make_hold(database, promo, (await make_user(database)).id)
    assert await why_not(database, promo, user) == ("OUT_OF_STOCK",)


async def test_another_promo_of_the_same_stock_takes_from_it_too(database: Database) -> None:
    stock = await make_stock(database, units=1)
    mine, other = await make_promo(database, stock), await make_promo(database, stock)
    await make_hold(database, other, (await make_user(database)).id)
    assert await why_not(database, mine, await person(database)) == ("OUT_OF_STOCK",)


async def test_the_limit_counts_what_the_person_holds_and_bought(database: Database) -> None:
    promo, user = await make_promo(database, max_per_user=2), await person(database)
    await make_purchases(database, user, right_now(), promo_id=promo)
    assert await why_not(database, promo, user) == ()
    await make_hold(database, promo, user)
    assert await why_not(database, promo, user) == ("LIMIT_REACHED",)
    assert await why_not(database, promo, await person(database)) == ()


async def test_an_overridden_segment_counts_and_nobody_is_in_neither_by_chance(
    database: Database,
) -> None:
    promo, user = await make_promo(database, segments=["NEW"]), await person(database)
    assert await why_not(database, promo, user) == ()
    await place_user(database, user, BOGOTA, is_new_user=False)
    assert await why_not(database, promo, user) == ("WRONG_SEGMENT",)


async def test_many_promos_or_people_are_one_statement(database: Database) -> None:
    stock, people = await make_stock(database), [await person(database) for _ in range(5)]
    promos = [await make_promo(database, stock) for _ in range(5)]
    with counted(database) as statements:
        async with database.read() as reader:
            of_promos = await eligibility_of_promos(
                reader, [*promos, 999_999], user_id=people[0], now=right_now()
            )
            of_users = await eligibility_of_users(
                reader, people, promo_id=promos[0], now=right_now()
            )
    assert sorted(of_promos) == promos
    assert set(of_users) == set(people)
    assert len(statements) == 2


async def test_the_caller_is_told(services: Services, sign_in: SignIn) -> None:
    api, user = await sign_in()
    promo = await make_promo(services.database, units=0)
    await place_user(services.database, user.id, north_of(BOGOTA, 3_000))
    query = (
        "query p($id: ID!) { promo(id: $id) { eligibility { eligible reasons distanceMeters } } }"
    )
    told = (await api(query, id=str(promo)))["promo"]["eligibility"]
    assert told["eligible"] is False
    assert told["reasons"] == ["TOO_FAR", "OUT_OF_STOCK"]
    assert told["distanceMeters"] == pytest.approx(3_000, abs=1)
