"""Changing and cancelling promos: who may, what can't change any more, and what follows."""

from typing import Any

import pytest
from sqlalchemy import insert, select, text

from db.models import WaitlistEntry
from db.models.accounts import Role
from db.models.holds import ReservationStatus
from db.models.promos import PromoStatus
from db.session import Database
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import make_user
from tests.market import Stock, make_promo, make_stock
from tests.promos.offers import cancel, change, close_hold, hours, make_hold, problems, stored

OVER = [PromoStatus.ENDED, PromoStatus.CANCELLED]
JOIN = "mutation j($id: ID!) { joinWaitlist(promoId: $id) { waitlistEntry { id status } } }"


@pytest.fixture
async def merchant(services: Services, sign_in: SignIn) -> tuple[Api, Stock]:
    """A merchant with ten units of something."""
    api, user = await sign_in(Role.MERCHANT)
    return api, await make_stock(services.database, owner_id=user.id)


async def counts(database: Database, promo_id: int) -> list[tuple[int, int | None]]:
    """(taken, limit) of each person who has units of the promo."""
    async with database.read() as reader:
        rows = await reader.execute(
            text("SELECT taken, max_per_user FROM promo_user_counts WHERE promo_id = :id"),
            {"id": promo_id},
        )
        return [(row.taken, row.max_per_user) for row in rows]


async def test_what_is_left_out_stays_as_it_is(
    services: Services, merchant: tuple[Api, Stock]
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock, quota=5, max_per_user=2, radius_m=300)
    before = await stored(services.database, promo)
    assert problems(await change(api, promo, holdSeconds=90)) == []
    after = await stored(services.database, promo)
    changed = {name for name in before._fields if getattr(before, name) != getattr(after, name)}
    assert changed == {"hold_seconds", "updated_at"}
    assert after.hold_seconds == 90


async def test_null_clears_quota_and_limit_per_person(
    services: Services, merchant: tuple[Api, Stock]
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock, quota=5, max_per_user=2)
    answer = await change(api, promo, quota=None, maxPerUser=None)
    assert (answer["promo"]["quota"], answer["promo"]["maxPerUser"]) == (None, None)


@pytest.mark.parametrize("name", ["segments", "endsAt", "storeProductId", "radiusMeters"])
async def test_null_is_refused_for_what_must_have_a_value(
    services: Services, merchant: tuple[Api, Stock], name: str
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock)
    before = await stored(services.database, promo)
    assert problems(await change(api, promo, **{name: None})) == [("REQUIRED", f"input.{name}")]
    assert await stored(services.database, promo) == before


async def test_the_stock_row_can_not_change(
    services: Services, merchant: tuple[Api, Stock]
) -> None:
    api, stock = merchant
    other = await make_stock(services.database, owner_id=stock.owner_id)
    promo = await make_promo(services.database, stock, status=PromoStatus.SCHEDULED)
    assert problems(await change(api, promo, storeProductId=str(stock.id))) == []
    answer = await change(api, promo, storeProductId=str(other.id))
    assert problems(answer) == [("READ_ONLY", "input.storeProductId")]
    assert (await stored(services.database, promo)).store_product_id == stock.id


@pytest.mark.parametrize("status", OVER)
async def test_a_promo_that_is_over_can_not_change(
    services: Services, merchant: tuple[Api, Stock], status: PromoStatus
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock, status=status)
    before = await stored(services.database, promo)
    assert problems(await change(api, promo, radiusMeters=100)) == [("READ_ONLY", "id")]
    assert await stored(services.database, promo) == before


async def test_the_start_of_a_running_promo_can_not_change(
    services: Services, merchant: tuple[Api, Stock]
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock, starts_at=hours(-1))
    before = await stored(services.database, promo)
    same = await change(api, promo, startsAt=before.starts_at.isoformat())
    assert problems(same) == []
    answer = await change(api, promo, startsAt=hours(-2).isoformat())
    assert problems(answer) == [("READ_ONLY", "input.startsAt")]
    assert (await stored(services.database, promo)).starts_at == before.starts_at


async def test_the_end_may_move_into_the_future_only(
    services: Services, merchant: tuple[Api, Stock]
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock)
    answer = await change(api, promo, endsAt=hours(5).isoformat())
    assert problems(answer) == []
    past = await change(api, promo, endsAt=hours(-0.1).isoformat())
    assert problems(past) == [("INVALID_SCHEDULE", "input.endsAt")]
    assert (await stored(services.database, promo)).ends_at > hours(4)


async def test_a_new_start_must_come_before_the_end_that_stands(
    services: Services, merchant: tuple[Api, Stock]
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock, status=PromoStatus.SCHEDULED)
    answer = await change(api, promo, startsAt=hours(2).isoformat())
    assert problems(answer) == [("INVALID_SCHEDULE", "input.startsAt")]
    assert problems(await change(api, promo, startsAt=hours(0.5).isoformat())) == []


async def test_a_quota_can_not_fall_under_what_is_taken(
    services: Services, merchant: tuple[Api, Stock]
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock)
    buyer = await make_user(services.database)
    await make_hold(services.database, promo, buyer.id, quantity=3)
    assert problems(await change(api, promo, quota=2)) == [("OUT_OF_RANGE", "input.quota")]
    assert (await stored(services.database, promo)).quota is None
    assert problems(await change(api, promo, quota=3)) == []


async def test_a_lowered_limit_leaves_people_what_they_have(
    services: Services, merchant: tuple[Api, Stock]
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock, max_per_user=5)
    buyer = await make_user(services.database)
    await close_hold(
        services.database, await make_hold(services.database, promo, buyer.id, quantity=3)
    )
    assert problems(await change(api, promo, maxPerUser=1)) == []
    assert await counts(services.database, promo) == [(3, 3)]
    assert problems(await change(api, promo, maxPerUser=4)) == []
    assert await counts(services.database, promo) == [(3, 4)]
    assert problems(await change(api, promo, maxPerUser=None)) == []
    assert await counts(services.database, promo) == [(3, None)]


async def test_a_larger_quota_is_offered_to_who_waits(
    services: Services, merchant: tuple[Api, Stock], sign_in: SignIn
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock, quota=1)
    await make_hold(services.database, promo, stock.owner_id)
    waiting, _ = await sign_in()
    entry = (await waiting(JOIN, id=str(promo)))["joinWaitlist"]["waitlistEntry"]
    assert entry["status"] == "WAITING"
    assert problems(await change(api, promo, quota=2)) == []
    node = await waiting(
        "query n($id: ID!) { node(id: $id) { ... on WaitlistEntry { status } } }", id=entry["id"]
    )
    assert node["node"] == {"status": "OFFERED"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"max_per_user": 1}, {"maxPerUser": 2}),
        ({"max_per_user": 1}, {"maxPerUser": None}),
        ({"admission_mode": "SCORED"}, {"admissionPolicy": {"mode": "OPEN"}}),
    ],
)
async def test_terms_that_let_more_in_are_offered_to_who_waits(
    services: Services,
    merchant: tuple[Api, Stock],
    sign_in: SignIn,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock, **before)
    _, person = await sign_in()
    async with services.database.transaction() as session:
        await session.execute(
            insert(WaitlistEntry).values(
                promo_id=promo, user_id=person.id, quantity=2, joined_at=hours(-0.5)
            )
        )
    assert problems(await change(api, promo, **after)) == []
    async with services.database.read() as reader:
        assert list((await reader.execute(select(WaitlistEntry.status))).scalars()) == ["OFFERED"]


@pytest.mark.parametrize("action", [change, cancel])
async def test_somebody_elses_promo_is_forbidden(
    services: Services, sign_in: SignIn, action: Any
) -> None:
    api, _ = await sign_in(Role.MERCHANT)
    promo = await make_promo(services.database)
    before = await stored(services.database, promo)
    document = {
        change: "mutation m($id: ID!) { updatePromo(id: $id, input: {}) { promo { id } } }",
        cancel: "mutation m($id: ID!) { cancelPromo(id: $id) { promo { id } } }",
    }[action]
    assert (await api(document, id=str(promo))).code == "FORBIDDEN"
    assert await stored(services.database, promo) == before


@pytest.mark.parametrize("action", [change, cancel])
async def test_an_admin_may_change_any_promo_and_an_absent_one_is_not_found(
    services: Services, sign_in: SignIn, action: Any
) -> None:
    api, _ = await sign_in(Role.ADMIN)
    assert problems(await action(api, await make_promo(services.database))) == []
    assert problems(await action(api, 999_999)) == [("NOT_FOUND", "id")]


async def test_cancelling_releases_holds_and_waitlist_and_is_repeatable(
    services: Services, merchant: tuple[Api, Stock], sign_in: SignIn
) -> None:
    api, stock = merchant
    promo = await make_promo(services.database, stock, quota=2)
    buyer = await make_user(services.database)
    await make_hold(services.database, promo, buyer.id, quantity=2)
    waiting, _ = await sign_in()
    entry = (await waiting(JOIN, id=str(promo)))["joinWaitlist"]["waitlistEntry"]
    for _ in range(2):
        answer = await cancel(api, promo)
        assert problems(answer) == []
        assert answer["promo"]["status"] == "CANCELLED"
    async with services.database.read() as reader:
        holds = await reader.execute(text("SELECT status FROM reservations"))
        assert list(holds.scalars()) == [ReservationStatus.CANCELLED]
        held = await reader.execute(text("SELECT held FROM store_products"))
        assert held.scalar_one() == 0
    node = await waiting(
        "query n($id: ID!) { node(id: $id) { ... on WaitlistEntry { status } } }", id=entry["id"]
    )
    assert node["node"] == {"status": "MISSED"}


async def test_a_scheduled_promo_can_be_cancelled_and_an_ended_one_can_not(
    services: Services, merchant: tuple[Api, Stock]
) -> None:
    api, stock = merchant
    scheduled = await make_promo(services.database, stock, status=PromoStatus.SCHEDULED)
    assert (await cancel(api, scheduled))["promo"]["status"] == "CANCELLED"
    ended = await make_promo(services.database, stock, status=PromoStatus.ENDED)
    assert problems(await cancel(api, ended)) == [("READ_ONLY", "id")]
    assert (await stored(services.database, ended)).status == "ENDED"
