"""Who is new and who is frequent, from account age and confirmed purchases (F2)."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update

from db.models import Profile, User
from db.models.holds import ReservationStatus
from db.queries.segments import is_frequent, is_new
from db.session import Database
from schema.edge.services import Services
from tests.clients import SignIn
from tests.factories import make_user, right_now
from tests.market import make_promo, place_user
from tests.promos.offers import close_hold, make_hold, make_purchases
from tests.promos.plans import MODES, plan_of, scans_of
from tests.statements import counted

NOW = right_now()
MOMENT = timedelta(microseconds=1)
MONTH = timedelta(days=30)
QUARTER = timedelta(days=90)
COPIES = text("""
    INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity, unit_price,
                              status, created_at, expires_at, closed_at)
    SELECT gen_random_uuid(), promo_id, store_product_id, gen_random_uuid(), 1, 1,
           'CONFIRMED', created_at, expires_at, closed_at
    FROM reservations, generate_series(1, 2000)
""")


async def joined(database: Database, ago: timedelta) -> UUID:
    """A person whose account is so old, somewhere in the market."""
    user = await make_user(database, now=NOW - ago)
    await place_user(database, user.id)
    return user.id


async def segments(database: Database, user_id: UUID, now: datetime = NOW) -> tuple[bool, bool]:
    """(new, frequent)."""
    statement = (
        select(is_new(now), is_frequent(now))
        .select_from(User)
        .outerjoin(Profile, Profile.user_id == User.id)
        .where(User.id == user_id)
    )
    async with database.read() as reader:
        new, frequent = (await reader.execute(statement)).one()
    return new, frequent


@pytest.mark.parametrize(("age", "new"), [(MONTH, True), (MONTH + MOMENT, False)])
async def test_an_account_is_new_for_thirty_days_whatever_it_bought(
    database: Database, age: timedelta, new: bool
) -> None:
    user = await joined(database, age)
    await make_purchases(database, user, NOW - timedelta(days=1))
    assert await segments(database, user) == (new, False)


async def test_who_never_bought_anything_stays_new(database: Database) -> None:
    assert await segments(database, await joined(database, 20 * MONTH)) == (True, False)


@pytest.mark.parametrize("status", [ReservationStatus.HELD, ReservationStatus.CANCELLED])
async def test_only_confirmed_purchases_count(
    database: Database, status: ReservationStatus
) -> None:
    user = await joined(database, 20 * MONTH)
    for _ in range(4):
        hold = await make_hold(database, await make_promo(database), user)
        if status is not ReservationStatus.HELD:
            await close_hold(database, hold, status)
    assert await segments(database, user) == (True, False)


@pytest.mark.parametrize(
    ("oldest", "frequent"), [(QUARTER, True), (QUARTER + MOMENT, False)], ids=["in", "out"]
)
async def test_three_purchases_in_ninety_days_make_frequent(
    database: Database, oldest: timedelta, frequent: bool
) -> None:
    user = await joined(database, 20 * MONTH)
    day = timedelta(days=1)
    await make_purchases(database, user, NOW - oldest, NOW - 40 * day, NOW - day)
    assert await segments(database, user) == (False, frequent)


async def test_two_purchases_do_not_and_somebody_elses_do_not_count(database: Database) -> None:
    user, other = await joined(database, 20 * MONTH), await joined(database, 20 * MONTH)
    await make_purchases(database, user, NOW, NOW)
    await make_purchases(database, other, NOW, NOW)
    assert await segments(database, user) == (False, False)


async def test_one_can_be_new_and_frequent_at_once(database: Database) -> None:
    user = await joined(database, timedelta(days=3))
    await make_purchases(database, user, NOW, NOW, NOW)
    assert await segments(database, user) == (True, True)


@pytest.mark.parametrize("flag", [True, False])
async def test_an_admins_word_counts_more(database: Database, flag: bool) -> None:
    user = await joined(database, timedelta(days=3))
    await place_user(database, user, is_new_user=flag, is_frequent=flag)
    assert await segments(database, user) == (flag, flag)


@pytest.mark.parametrize("mode", MODES)
async def test_purchases_are_looked_up_in_their_index(database: Database, mode: str) -> None:
    user = await joined(database, timedelta(days=100))
    await make_purchases(database, user, NOW, NOW, NOW)
    async with database.transaction() as session:
        # as many rows as make an index worth it; the counters are not what is tested
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        await session.execute(COPIES)
    async with database.transaction() as session:
        await session.execute(text("ANALYZE reservations"))
    statement = (
        select(is_new(NOW), is_frequent(NOW))
        .select_from(User)
        .outerjoin(Profile, Profile.user_id == User.id)
        .where(User.id == user)
    )
    scans = scans_of(await plan_of(database, statement, mode), "reservations")
    assert [scan["Index Name"] for scan in scans] == ["reservations_confirmed_idx"] * 2


async def test_the_profile_tells_them(services: Services, sign_in: SignIn) -> None:
    api, user = await sign_in()
    async with services.database.transaction() as session:
        old = update(User).where(User.id == user.id)
        await session.execute(old.values(created_at=NOW - 20 * MONTH))
    profile = "{ me { profile { isNewUser isFrequent segments } } }"
    assert (await api(profile))["me"]["profile"] == {
        "isNewUser": True,
        "isFrequent": False,
        "segments": ["NEW"],
    }
    await make_purchases(services.database, user.id, *[right_now()] * 3)
    with counted(services.database) as statements:
        assert (await api(profile))["me"]["profile"] == {
            "isNewUser": False,
            "isFrequent": True,
            "segments": ["FREQUENT"],
        }
    assert len(statements) == 3
