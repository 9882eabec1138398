"""Whom a round tells of which promo: place, segment, day, cap, quiet hours, opt-out (F3-F5)."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, update

from db.models import Notification, StoreProduct
from db.models.promos import PromoStatus
from db.queries.promos import price
from db.session import Database
from tests.market import BOGOTA, make_stock, north_of, place_user
from tests.notifications.rounds import (
    NOON,
    Workers,
    counted,
    make_person,
    people_told,
    promo_at_noon,
    promos_told,
    sent,
)

TUESDAY = date(2026, 3, 10)


def clock(written: str) -> time:
    return time.fromisoformat(written)


async def test_a_person_is_told_of_a_promo_once_a_day(database: Database, workers: Workers) -> None:
    person, promo = await make_person(database), await promo_at_noon(database)
    await workers.round(NOON)
    await workers.round(NOON + timedelta(hours=1))
    assert await sent(database) == [(person, promo, TUESDAY)]
    await workers.round(NOON + timedelta(days=1))
    assert await sent(database) == [
        (person, promo, TUESDAY),
        (person, promo, TUESDAY + timedelta(days=1)),
    ]


async def test_a_day_ends_at_midnight_of_the_person(database: Database, workers: Workers) -> None:
    person, _ = await make_person(database), await promo_at_noon(database)
    await workers.round(datetime(2026, 3, 11, 4, 59, tzinfo=UTC))  # 23:59 in Bogota
    await workers.round(datetime(2026, 3, 11, 5, 1, tzinfo=UTC))  # 00:01
    days = [day for *_, day in await sent(database, person)]
    assert days == [TUESDAY, TUESDAY + timedelta(days=1)]


async def test_each_person_has_days_of_their_own(database: Database, workers: Workers) -> None:
    await promo_at_noon(database, starts_at=NOON - timedelta(days=1))
    here = await make_person(database)
    guest = await make_person(database, time_zone="Asia/Tokyo")
    await workers.round(datetime(2026, 3, 10, 14, 59, tzinfo=UTC))  # 09:59 and 23:59
    await workers.round(datetime(2026, 3, 10, 15, 1, tzinfo=UTC))  # 10:01 and 00:01
    assert len(await sent(database, here)) == 1
    assert len(await sent(database, guest)) == 2


async def test_who_flies_west_into_yesterday_gets_no_second_allowance(
    database: Database, workers: Workers
) -> None:
    person = await make_person(database, time_zone="Asia/Tokyo", daily_cap=1)
    await promo_at_noon(database)
    await workers.round(NOON)  # the 11th in Tokyo
    await place_user(database, person, time_zone="America/Bogota")
    await workers.round(NOON + timedelta(minutes=1))  # still the 10th in Bogota
    assert len(await sent(database, person)) == 1


async def test_the_cap_counts_all_promos_and_the_nearest_come_first(
    database: Database, workers: Workers
) -> None:
    person = await make_person(database, daily_cap=2)
    by_distance = {
        meters: await promo_at_noon(
            database, await make_stock(database, place=north_of(BOGOTA, meters))
        )
        for meters in (1_500, 300, 900, 50)
    }
    await workers.round(NOON)
    assert set(await promos_told(database, person)) == {by_distance[50], by_distance[300]}
    await workers.round(NOON + timedelta(hours=1))
    assert len(await sent(database, person)) == 2
    await workers.round(NOON + timedelta(days=1))
    assert len(await sent(database, person)) == 4


async def test_of_promos_as_near_the_one_that_ends_first_comes_first(
    database: Database, workers: Workers
) -> None:
    person, stock = await make_person(database, daily_cap=1), await make_stock(database)
    by_hours = {
        hours: await promo_at_noon(database, stock, ends_at=NOON + timedelta(hours=hours))
        for hours in (9, 2, 5)
    }
    await workers.round(NOON)
    assert await promos_told(database, person) == [by_hours[2]]


async def test_a_cap_of_nothing_means_nothing(database: Database, workers: Workers) -> None:
    person, _ = await make_person(database, daily_cap=0), await promo_at_noon(database)
    await workers.round(NOON)
    assert await sent(database, person) == []


async def test_quiet_hours_are_local_and_may_span_midnight(
    database: Database, workers: Workers
) -> None:
    await promo_at_noon(database)
    half_past_11_at_night = datetime(2026, 3, 11, 4, 30, tzinfo=UTC)
    spans = {
        ("22:00", "07:00"): False,
        ("23:30", "07:00"): False,
        ("23:31", "07:00"): True,
        ("22:00", "23:30"): True,
        ("22:00", "23:31"): False,
        ("09:00", "17:00"): True,
        ("00:00", "23:00"): True,
    }
    people = {
        await make_person(database, quiet_from=clock(begin), quiet_to=clock(end)): told
        for (begin, end), told in spans.items()
    }
    elsewhere = await make_person(
        database,
        quiet_from=clock("22:00"),
        quiet_to=clock("07:00"),
        time_zone="Asia/Tokyo",  # 13:30
    )
    await workers.round(half_past_11_at_night)
    assert await people_told(database) == {
        elsewhere,
        *(person for person, told in people.items() if told),
    }


async def test_what_quiet_hours_hold_back_is_sent_when_they_end_if_it_still_runs(
    database: Database, workers: Workers
) -> None:
    person = await make_person(database, quiet_from=clock("11:00"), quiet_to=clock("15:00"))
    lasting = await promo_at_noon(database)
    await promo_at_noon(database, ends_at=NOON + timedelta(hours=2))
    await workers.round(NOON)
    assert await sent(database, person) == []
    await workers.round(NOON + timedelta(hours=3))
    assert await promos_told(database, person) == [lasting]


async def test_who_opted_out_is_not_told(database: Database, workers: Workers) -> None:
    await make_person(database, promos_enabled=False)
    person = await make_person(database, shortages_enabled=False)
    await promo_at_noon(database)
    await workers.round(NOON)
    assert await people_told(database) == {person}


async def test_the_radius_is_in_meters(database: Database, workers: Workers) -> None:
    inside = await make_person(database, north_of(BOGOTA, 1_999))
    await make_person(database, north_of(BOGOTA, 2_001))
    await make_person(database, None)
    wide = await make_stock(database, place=north_of(BOGOTA, 30_000))
    far = await promo_at_noon(database, wide, radius_m=28_500)
    near = await promo_at_noon(database)
    await workers.round(NOON)
    assert await people_told(database, near) == {inside}
    assert len(await people_told(database, far)) == 2


async def test_segments_choose_and_none_means_everybody(
    database: Database, workers: Workers
) -> None:
    flags: dict[str, Any] = {
        "new": {"is_new_user": True, "is_frequent": False},
        "frequent": {"is_new_user": False, "is_frequent": True},
        "neither": {"is_new_user": False, "is_frequent": False},
    }
    people = {
        name: await make_person(database, daily_cap=10, **flag) for name, flag in flags.items()
    }
    promos = {
        wanted: await promo_at_noon(database, segments=list(wanted))
        for wanted in ((), ("NEW",), ("FREQUENT",), ("NEW", "FREQUENT"))
    }
    await workers.round(NOON)
    told = {
        wanted: {name for name, id_ in people.items() if id_ in await people_told(database, promo)}
        for wanted, promo in promos.items()
    }
    assert told == {
        (): {"new", "frequent", "neither"},
        ("NEW",): {"new"},
        ("FREQUENT",): {"frequent"},
        ("NEW", "FREQUENT"): {"new", "frequent"},
    }


@pytest.mark.parametrize("status", [s for s in PromoStatus if s is not PromoStatus.ACTIVE])
async def test_only_active_promos_are_told_of(
    database: Database, workers: Workers, status: PromoStatus
) -> None:
    await make_person(database)
    await promo_at_noon(database, status=status)
    await workers.round(NOON)
    assert await sent(database) == []


async def test_a_promo_outside_its_schedule_is_not_told_of(
    database: Database, workers: Workers
) -> None:
    person = await make_person(database)
    over = await promo_at_noon(database, ends_at=NOON)
    await promo_at_noon(database, starts_at=NOON + timedelta(seconds=2))
    await workers.round(NOON + timedelta(seconds=1))
    assert await sent(database) == []
    await workers.round(NOON)  # both ends of the schedule belong to it
    assert await sent(database) == [(person, over, TUESDAY)]


async def test_a_promo_with_nothing_left_is_not_told_of(
    database: Database, workers: Workers
) -> None:
    person = await make_person(database, daily_cap=10)
    empty, stock = await make_stock(database, units=0), await make_stock(database)
    await promo_at_noon(database, empty)
    await promo_at_noon(database, quota=0)
    sold = await promo_at_noon(database, stock)
    async with database.transaction() as session:
        await session.execute(
            update(StoreProduct).where(StoreProduct.id == stock.id).values(on_hand=0)
        )
    await workers.round(NOON)
    assert await sent(database) == []
    async with database.transaction() as session:
        await session.execute(
            update(StoreProduct).where(StoreProduct.id == stock.id).values(on_hand=1)
        )
    await workers.round(NOON)
    assert await promos_told(database, person) == [sold]


async def test_a_notice_says_what_where_for_how_much_and_until_when(
    database: Database, workers: Workers
) -> None:
    stock = await make_stock(database, name="Corner", price="1000.00", place=north_of(BOGOTA, 500))
    await promo_at_noon(
        database, stock, discount_percent=Decimal("12.50"), ends_at=NOON + timedelta(hours=2)
    )
    here = await make_person(database)
    guest = await make_person(database, time_zone="Asia/Tokyo")
    await workers.round(NOON)
    async with database.read() as reader:
        statement = select(
            Notification.user_id, Notification.title, Notification.body, Notification.distance_m
        )
        notices = {row.user_id: row for row in await reader.execute(statement)}
    assert notices[here].title.startswith("12.5 % off Product")
    assert notices[here].title.endswith("at Corner")
    assert notices[here].body == "875.00 instead of 1000.00, until 14:00"
    assert notices[guest].body == "875.00 instead of 1000.00, until 04:00"
    assert notices[here].distance_m == pytest.approx(500, abs=1)


@pytest.mark.parametrize(
    ("base", "percent"), [("0.05", "50"), ("0.15", "50"), ("99.99", "33.33"), ("10.00", "100")]
)
async def test_the_price_of_a_notice_is_the_price_of_the_promo(
    database: Database, workers: Workers, base: str, percent: str
) -> None:
    stock = await make_stock(database, price=base)
    await promo_at_noon(database, stock, discount_percent=Decimal(percent))
    await make_person(database)
    await workers.round(NOON)
    async with database.read() as reader:
        said = (await reader.execute(select(Notification.title, Notification.body))).one()
    assert said.title.startswith(f"{percent} % off ")
    assert said.body.startswith(f"{price(Decimal(base), Decimal(percent))} instead of {base}, ")


async def test_an_end_on_another_day_is_told_with_its_date(
    database: Database, workers: Workers
) -> None:
    await make_person(database)
    await promo_at_noon(database)
    await workers.round(NOON)
    async with database.read() as reader:
        body = (await reader.execute(select(Notification.body))).scalar_one()
    assert body == "1000.00, until 13 Mar 12:00"


async def test_the_day_counts_what_was_sent(database: Database, workers: Workers) -> None:
    person = await make_person(database)
    for _ in range(2):
        await promo_at_noon(database)
    await workers.round(NOON)
    assert await counted(database, person) == 2
    await workers.round(NOON + timedelta(days=1))
    assert await counted(database, person) == 2
