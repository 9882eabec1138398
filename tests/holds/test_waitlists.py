"""The waitlist: who is served when a unit comes free, and what becomes of an offer."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import (
    AdmissionRefused,
    Ineligible,
    InputRejected,
    LimitPerUser,
    PromoNotActive,
)
from db.models.predictions import AdmissionDecision
from db.models.promos import AdmissionMode, PromoStatus
from db.queries.holds import HoldRow
from db.queries.waitlists import EntryRow, latest_entry
from db.session import Database
from db.transactions.admissions import Scored, record_admission
from db.transactions.holds import cancel, checkout, tidy_stock
from db.transactions.models import ensure_model
from db.transactions.offers import offer_stock
from db.transactions.reserving import HoldRequest, reserve
from db.transactions.waitlists import close_waitlists, join, leave
from schema.edge.definitions import ATTENDANCE
from tests.factories import make_user, right_now
from tests.holds.audit import audit, counters
from tests.holds.test_closing import make_hold
from tests.market import make_promo, make_stock


async def wait(
    database: Database,
    promo_id: int,
    quantity: int = 1,
    decided: AdmissionDecision | None = None,
    user: UUID | None = None,
) -> UUID:
    """A person who joins the line, scored before if `decided`; who it is."""
    user_id = user or (await make_user(database)).id
    async with database.transaction() as session:
        if decided is not None:
            await score(session, promo_id, user_id, decided)
        await join(session, user_id=user_id, promo_id=promo_id, quantity=quantity, now=right_now())
    return user_id


async def score(
    session: AsyncSession, promo_id: int, user_id: UUID, decision: AdmissionDecision
) -> None:
    await record_admission(
        session,
        model_id=await ensure_model(session, ATTENDANCE, right_now()),
        promo_id=promo_id,
        user_id=user_id,
        decision=decision,
        scored=Scored("v1", False, {}, {"attendance_probability": 0.5}, []),
        now=right_now(),
    )


async def place(database: Database, promo_id: int, user_id: UUID) -> EntryRow:
    async with database.read() as reader:
        row = await latest_entry(reader, user_id, promo_id)
    assert row is not None
    return row


async def sold_out(
    database: Database, units: int = 1, *, scored: bool = False, **terms: Any
) -> tuple[int, list[HoldRow]]:
    """A promo whose units are all held, one by one; the promo and the holds."""
    promo = await make_promo(database, units=units, **terms)
    holds = [await make_hold(database, promo) for _ in range(units)]
    if scored:  # from now on: those who hold units were not
        async with database.transaction() as session:
            await session.execute(text("UPDATE flash_promos SET admission_mode = 'SCORED'"))
    return promo, holds


async def test_a_unit_given_back_becomes_an_offer_to_the_head_of_the_line(
    database: Database,
) -> None:
    promo, (hold,) = await sold_out(database)
    first, second = await wait(database, promo), await wait(database, promo)
    assert (await place(database, promo, first)).position == 1
    assert (await place(database, promo, second)).position == 2

    async with database.transaction() as session:
        _, topics = await cancel(session, user_id=hold.user_id, token=hold.token, now=right_now())

    served = await place(database, promo, first)
    assert (served.status, served.position) == ("OFFERED", None)
    assert served.offer_reservation_id is not None
    assert (await place(database, promo, second)).position == 1
    assert f"waitlist:{promo}" in topics
    assert any(topic.startswith(f"notice:{first}:") for topic in topics)
    assert await counters(database, promo) == {"on_hand": 1, "held": 1, "taken": 1}
    async with database.read() as reader:
        notice = (await reader.execute(text("SELECT user_id, kind FROM notifications"))).one()
    assert notice == (first, "WAITLIST_OFFER")
    await audit(database)


async def test_an_expired_hold_becomes_an_offer_too_and_an_expired_offer_goes_on_to_the_next(
    database: Database,
) -> None:
    promo, (hold,) = await sold_out(database, hold_seconds=1)
    first, second = await wait(database, promo), await wait(database, promo)
    for served in (first, second):
        await asyncio.sleep(1.1)
        async with database.transaction() as session:
            await tidy_stock(session, hold.store_product_id, right_now())
        assert (await place(database, promo, served)).status == "OFFERED"
    assert (await place(database, promo, first)).status == "MISSED"
    await audit(database)


async def test_an_offer_that_is_bought_converts(database: Database) -> None:
    stock = await make_stock(database, units=1)
    promo = await make_promo(database, stock)
    user = await wait(database, promo)
    async with database.read() as reader:
        token = (await reader.execute(text("SELECT token FROM reservations"))).scalar_one()
    async with database.transaction() as session:
        await checkout(session, user_id=user, token=token, now=right_now())
    assert (await place(database, promo, user)).status == "CONVERTED"
    assert await counters(database, promo) == {"on_hand": 0, "held": 0, "taken": 1}


async def test_where_units_are_free_who_joins_is_offered_them_at_once(database: Database) -> None:
    promo = await make_promo(database, units=3)
    user = await wait(database, promo, 2)
    assert (await place(database, promo, user)).status == "OFFERED"
    assert await counters(database, promo) == {"on_hand": 3, "held": 2, "taken": 2}


async def test_a_promo_that_scores_makes_who_joins_wait_though_units_are_free(
    database: Database,
) -> None:
    promo = await make_promo(database, units=3, admission_mode=AdmissionMode.SCORED)
    user = await wait(database, promo)
    assert (await place(database, promo, user)).status == "WAITING"
    assert await counters(database, promo) == {"on_hand": 3, "held": 0, "taken": 0}


async def test_the_admitted_are_served_before_those_who_came_earlier_in_the_band_below(
    database: Database,
) -> None:
    promo, (hold,) = await sold_out(database, scored=True)
    unseen = await wait(database, promo)
    early = await wait(database, promo, decided=AdmissionDecision.WAITLIST)
    late = await wait(database, promo, decided=AdmissionDecision.ADMIT)
    assert (await place(database, promo, late)).position == 1
    async with database.transaction() as session:
        await cancel(session, user_id=hold.user_id, token=hold.token, now=right_now())
    assert (await place(database, promo, late)).status == "OFFERED"
    assert (await place(database, promo, unseen)).position == 1
    assert (await place(database, promo, early)).position == 2


async def test_who_was_denied_has_no_place_in_the_line(database: Database) -> None:
    promo, _ = await sold_out(database, scored=True)
    user = await make_user(database)
    async with database.transaction() as session:
        await score(session, promo, user.id, AdmissionDecision.DENY)
    with pytest.raises(AdmissionRefused) as refused:
        await wait(database, promo, user=user.id)
    assert (refused.value.code, refused.value.field) == ("ADMISSION_DENIED", ("promoId",))


async def test_an_enforced_audience_rules_the_line_as_well(database: Database) -> None:
    promo, _ = await sold_out(database, units=0, enforce_audience=True)
    with pytest.raises(Ineligible) as refused:
        await wait(database, promo)
    assert refused.value.reasons == ("NO_LOCATION",)


async def test_who_wants_more_than_is_free_is_passed_over_and_keeps_the_place(
    database: Database,
) -> None:
    promo, (hold, *_) = await sold_out(database, units=2)
    large, small = await wait(database, promo, 2), await wait(database, promo, 1)
    async with database.transaction() as session:
        await cancel(session, user_id=hold.user_id, token=hold.token, now=right_now())
    assert (await place(database, promo, small)).status == "OFFERED"
    assert (await place(database, promo, large)).position == 1


async def test_new_stock_serves_the_line(database: Database) -> None:
    promo, (hold,) = await sold_out(database)
    users = [await wait(database, promo) for _ in range(3)]
    async with database.transaction() as session:
        await session.execute(text("UPDATE store_products SET on_hand = on_hand + 2"))
        await offer_stock(session, hold.store_product_id, right_now())
    states = [(await place(database, promo, user)).status for user in users]
    assert states == ["OFFERED", "OFFERED", "WAITING"]
    assert await counters(database, promo) == {"on_hand": 3, "held": 3, "taken": 3}


async def test_who_has_a_place_keeps_it(database: Database) -> None:
    promo, _ = await sold_out(database)
    user = await wait(database, promo)
    first = await place(database, promo, user)
    await wait(database, promo, 5, user=user)
    assert await place(database, promo, user) == first


async def test_who_leaves_gives_the_place_up_and_an_offer_to_the_next(database: Database) -> None:
    promo, (hold,) = await sold_out(database)
    first, second, third = [await wait(database, promo) for _ in range(3)]
    async with database.transaction() as session:
        await cancel(session, user_id=hold.user_id, token=hold.token, now=right_now())
    for leaver in (second, first, first):
        async with database.transaction() as session:
            await leave(session, user_id=leaver, promo_id=promo, now=right_now())
    assert (await place(database, promo, first)).status == "LEFT"
    assert (await place(database, promo, second)).status == "LEFT"
    assert (await place(database, promo, third)).status == "OFFERED"
    assert await counters(database, promo) == {"on_hand": 1, "held": 1, "taken": 1}
    await audit(database)


async def test_who_never_waited_can_not_leave(database: Database) -> None:
    promo = await make_promo(database)
    user = await make_user(database)
    with pytest.raises(InputRejected) as refused:
        async with database.transaction() as session:
            await leave(session, user_id=user.id, promo_id=promo, now=right_now())
    assert refused.value.problems[0].code == "NOT_FOUND"


async def test_who_gets_units_otherwise_waits_no_longer(database: Database) -> None:
    promo, _ = await sold_out(database)
    user = await wait(database, promo)
    async with database.transaction() as session:
        await session.execute(text("UPDATE store_products SET on_hand = 2"))
    async with database.transaction() as session:
        await reserve(session, promo, [HoldRequest(user, 1)], right_now())
    assert (await place(database, promo, user)).status == "CONVERTED"


async def test_who_holds_units_can_not_wait_for_more(database: Database) -> None:
    promo, (hold,) = await sold_out(database)
    with pytest.raises(InputRejected) as refused:
        await wait(database, promo, user=hold.user_id)
    assert refused.value.problems[0].code == "IN_USE"


async def test_the_limit_per_person_holds_in_the_line_as_well(database: Database) -> None:
    promo, (hold,) = await sold_out(database, max_per_user=2)
    with pytest.raises(LimitPerUser):
        await wait(database, promo, 3)
    async with database.read() as reader:
        assert (await reader.execute(text("SELECT id FROM waitlist_entries"))).all() == []
    assert hold.status == "HELD"


async def test_nobody_waits_for_a_promo_that_does_not_run(database: Database) -> None:
    promo = await make_promo(database, status=PromoStatus.ENDED)
    with pytest.raises(PromoNotActive):
        await wait(database, promo)


async def test_the_line_of_a_promo_that_is_over_goes_home(database: Database) -> None:
    promo, _ = await sold_out(database)
    user = await wait(database, promo)
    async with database.transaction() as session:
        await close_waitlists(session, [promo], right_now())
    assert (await place(database, promo, user)).status == "MISSED"
