"""The dry run says what the next round will do (F55)."""

from datetime import time, timedelta
from typing import Any

from db.models.promos import PromoStatus
from db.queries.notifications import AudienceRow, audience
from db.session import Database
from tests.market import BOGOTA, make_stock, north_of, place_user
from tests.notifications.rounds import NOON, Workers, make_person, people_told, promo_at_noon
from tests.statements import counted

QUIET: dict[str, Any] = {"quiet_from": time(11), "quiet_to": time(13)}


async def asked(database: Database, *promos: int) -> dict[int, AudienceRow]:
    async with database.read() as reader:
        return await audience(reader, promos, NOON)


async def test_everybody_in_reach_is_counted_once_at_the_first_reason(
    database: Database, workers: Workers
) -> None:
    promo = await promo_at_noon(database)
    told = await make_person(database)
    await workers.round(NOON)
    await place_user(database, told, promos_enabled=False, daily_cap=1, **QUIET)
    await make_person(database, promos_enabled=False, daily_cap=0, **QUIET)
    await make_person(database, daily_cap=0, **QUIET)
    await make_person(database, **QUIET)
    await make_person(database)
    await make_person(database)
    await make_person(database, north_of(BOGOTA, 2_100))
    await make_person(database, is_new_user=False, is_frequent=False)
    assert await asked(database, promo) == {
        promo: AudienceRow(
            matched=6,
            to_notify=2,
            already_notified_today=1,
            over_daily_cap=1,
            in_quiet_hours=1,
            opted_out=1,
        )
    }


async def test_it_is_what_the_round_then_does(database: Database, workers: Workers) -> None:
    stocks = [
        await make_stock(database, place=north_of(BOGOTA, meters)) for meters in (0, 700, 1_400)
    ]
    promos = [
        await promo_at_noon(database, stock, ends_at=NOON + timedelta(hours=hours), **terms)
        for stock in stocks
        for hours, terms in ((5, {}), (3, {"segments": ["FREQUENT"]}), (3, {"radius_m": 900}))
    ]
    for number in range(40):
        await make_person(
            database,
            north_of(BOGOTA, number * 60 - 400),
            daily_cap=number % 5,
            promos_enabled=number % 7 > 0,
            is_frequent=number % 3 == 0,
            **(QUIET if number % 11 == 0 else {}),
        )
    forecast = await asked(database, *promos)
    await workers.round(NOON)
    done = {promo: len(await people_told(database, promo)) for promo in promos}
    assert {promo: row.to_notify for promo, row in forecast.items()} == done
    assert sum(done.values()) > 40
    after = await asked(database, *promos)
    assert all(row.to_notify == 0 for row in after.values())
    assert {promo: row.already_notified_today for promo, row in after.items()} == done
    for promo, row in forecast.items():
        assert row.matched == after[promo].matched


async def test_a_promo_to_come_is_judged_as_if_it_ran(database: Database) -> None:
    await make_person(database)
    promo = await promo_at_noon(
        database, status=PromoStatus.SCHEDULED, starts_at=NOON + timedelta(hours=2)
    )
    assert await asked(database, promo) == {promo: AudienceRow(matched=1, to_notify=1)}


async def test_a_promo_to_come_takes_no_room_from_those_that_run(database: Database) -> None:
    await make_person(database, north_of(BOGOTA, 100), daily_cap=1)
    running = await promo_at_noon(database)
    near = await make_stock(database, place=north_of(BOGOTA, 100))
    to_come = await promo_at_noon(database, near, status=PromoStatus.SCHEDULED)
    rows = await asked(database, running, to_come)
    assert [rows[running].to_notify, rows[to_come].to_notify] == [1, 1]


async def test_a_promo_that_is_over_or_sold_out_reaches_nobody(database: Database) -> None:
    await make_person(database)
    promos = [
        await promo_at_noon(database, status=PromoStatus.ENDED),
        await promo_at_noon(database, status=PromoStatus.CANCELLED),
        await promo_at_noon(database, ends_at=NOON - timedelta(seconds=1)),
        await promo_at_noon(database, await make_stock(database, units=0)),
        10_000_000,
    ]
    assert await asked(database, *promos) == dict.fromkeys(promos, AudienceRow())


async def test_any_number_of_promos_is_one_statement(database: Database) -> None:
    await make_person(database)
    promos = [await promo_at_noon(database) for _ in range(5)]
    with counted(database) as statements:
        await asked(database, *promos)
    assert len(statements) == 1
