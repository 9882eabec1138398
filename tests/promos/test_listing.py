"""What merchants see of promos: lists, figures, and nothing of other people's (F54, F55)."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from db.models import Prediction
from db.models.accounts import Role
from db.models.holds import ReservationStatus
from db.models.promos import PromoStatus
from schema.edge.connections import write_cursor
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import make_model, make_user, right_now
from tests.market import make_promo, make_stock, place_user
from tests.promos.offers import close_hold, hours, make_hold
from tests.statements import counted

PAGE = """
query mine($first: Int! = 20, $after: String, $filter: PromoFilter) {
  promos(first: $first, after: $after, filter: $filter) {
    nodes { id status startsAt storeProduct { store { id } } }
    pageInfo { hasNextPage endCursor }
    totalCount
  }
}
"""
FIGURES = """
query figures($first: Int!) {
  promos(first: $first) {
    nodes {
      waitlistLength
      stats { notified held confirmed expired cancelled denied }
      audience { matched toNotify }
    }
  }
}
"""


async def mine(api: Api, **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await api(PAGE, **arguments))["promos"]
    return answer


async def test_the_last_to_start_comes_first_across_pages(
    services: Services, sign_in: SignIn
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    starts = [hours(-1), hours(-3), hours(-1), hours(-2), hours(-1)]
    starts[2] = starts[4] = starts[0]  # three at the same instant
    for starts_at in starts:
        await make_promo(services.database, stock, starts_at=starts_at)
    seen: list[dict[str, Any]] = []
    after, more = None, True
    while more:
        page = await mine(api, first=2, after=after)
        seen += page["nodes"]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        assert page["totalCount"] == 5
    told = [datetime.fromisoformat(node["startsAt"]) for node in seen]
    assert told == sorted(starts, reverse=True)
    assert len({node["id"] for node in seen}) == 5


async def test_a_merchant_sees_their_own_promos_and_an_admin_all(
    services: Services, sign_in: SignIn
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    own = await make_stock(services.database, owner_id=merchant.id)
    await make_promo(services.database, own)
    other = await make_stock(services.database)
    await make_promo(services.database, other)
    assert (await mine(api))["totalCount"] == 1
    assert (await mine(api, filter={"storeId": str(other.store_id)}))["nodes"] == []
    admin, _ = await sign_in(Role.ADMIN)
    assert (await mine(admin))["totalCount"] == 2


async def test_a_user_may_not_list_them(sign_in: SignIn) -> None:
    api, _ = await sign_in()
    assert (await api(PAGE)).code == "FORBIDDEN"


async def test_filters_narrow_the_list_down(services: Services, sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    start = right_now().replace(microsecond=0) - timedelta(hours=1)
    first = await make_stock(services.database)
    await make_promo(services.database, first, starts_at=start)
    await make_promo(services.database, first, starts_at=start, status=PromoStatus.ENDED)
    await make_promo(services.database, starts_at=start - timedelta(hours=1))
    at = start.isoformat()

    async def count(**wanted: Any) -> int:
        page = await mine(admin, filter=wanted)
        assert len(page["nodes"]) == page["totalCount"]
        return int(page["totalCount"])

    assert await count() == 3
    assert await count(storeId=None, status=None, startsAfter=None, startsBefore=None) == 3
    assert await count(storeId=str(first.store_id)) == 2
    assert await count(status="ENDED") == 1
    assert await count(startsAfter=at) == 2
    assert await count(startsBefore=at) == 1
    assert await count(storeId=str(first.store_id), status="ACTIVE", startsAfter=at) == 1


@pytest.mark.parametrize(
    "after",
    [
        "nonsense",
        write_cursor(("2026-01-01T00:00:00", 1)),
        write_cursor(("2026-01-01T00:00:00+00:00", "x")),
        write_cursor((1, 1)),
    ],
)
async def test_a_cursor_of_another_list_is_bad_user_input(sign_in: SignIn, after: str) -> None:
    api, _ = await sign_in(Role.MERCHANT)
    answer = await api(PAGE, after=after)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == ["after"]


async def test_any_signed_in_person_may_look_at_any_promo(
    services: Services, sign_in: SignIn, api: Api
) -> None:
    person, _ = await sign_in()
    promo = await make_promo(services.database, status=PromoStatus.SCHEDULED)
    query = "query p($id: ID!) { promo(id: $id) { id status } node(id: $id) { id } }"
    found = await person("query p($id: ID!) { promo(id: $id) { id status } }", id=str(promo))
    assert found["promo"]["status"] == "SCHEDULED"
    by_global_id = await person(query, id=found["promo"]["id"])
    assert by_global_id["promo"] == found["promo"]
    assert by_global_id["node"] == {"id": found["promo"]["id"]}
    assert (await api(query, id=found["promo"]["id"])).code == "UNAUTHENTICATED"


async def test_an_absent_promo_is_null(sign_in: SignIn) -> None:
    api, _ = await sign_in()
    assert (await api('{ promo(id: "999999") { id } }'))["promo"] is None


async def test_figures_tell_what_has_come_of_it(services: Services, sign_in: SignIn) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    database = services.database
    stock = await make_stock(database, owner_id=merchant.id)
    promo = await make_promo(database, stock)
    buyers = [(await make_user(database)).id for _ in range(5)]
    for buyer, status in zip(
        buyers, [ReservationStatus.CONFIRMED] * 2 + [ReservationStatus.CANCELLED], strict=False
    ):
        await close_hold(database, await make_hold(database, promo, buyer), status)
    await make_hold(database, promo, buyers[3])
    # a hold whose time is over counts as expired before anybody has tidied it
    await make_hold(database, promo, buyers[4], now=right_now() - timedelta(minutes=5))
    model = await make_model(database, "demo")
    async with database.transaction() as session:
        for buyer, decision in zip(buyers, ("DENY", "DENY", "ADMIT"), strict=False):
            session.add(
                Prediction(
                    id=uuid4(),
                    user_id=buyer,
                    kind="ATTENDANCE",
                    status="SUCCEEDED",
                    model_id=model,
                    version="v1",
                    is_mock=False,
                    input={},
                    output={},
                    promo_id=promo,
                    decision=decision,
                    created_at=right_now(),
                )
            )
        await session.execute(
            text("""
                INSERT INTO notifications
                    (user_id, kind, title, body, promo_id, sent_date, created_at)
                SELECT id, 'PROMO', 't', 'b', :promo, CURRENT_DATE, now() FROM users
                WHERE id = ANY(:people)
            """),
            {"promo": promo, "people": buyers[:4]},
        )
        await session.execute(
            text("""
                INSERT INTO waitlist_entries (promo_id, user_id, quantity, status, joined_at)
                VALUES (:promo, :one, 1, 'WAITING', now()), (:promo, :other, 1, 'LEFT', now())
            """),
            {"promo": promo, "one": buyers[0], "other": buyers[1]},
        )
    (node,) = (await api(FIGURES, first=1))["promos"]["nodes"]
    assert node["stats"] == {
        "notified": 4,
        "held": 1,
        "confirmed": 2,
        "expired": 1,
        "cancelled": 1,
        "denied": 2,
    }
    assert node["waitlistLength"] == 1


async def test_a_promo_without_a_history_has_figures_of_nothing(
    services: Services, sign_in: SignIn
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    await make_promo(services.database, stock)
    (node,) = (await api(FIGURES, first=1))["promos"]["nodes"]
    assert set(node["stats"].values()) == {0}
    assert node["waitlistLength"] == 0


async def test_the_audience_is_a_dry_run(services: Services, sign_in: SignIn) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    await make_promo(services.database, stock)
    reached = await make_user(services.database)
    await place_user(services.database, reached.id)
    (node,) = (await api(FIGURES, first=1))["promos"]["nodes"]
    assert node["audience"] == {"matched": 1, "toNotify": 1}
    async with services.database.read() as reader:
        notices = await reader.execute(text("SELECT id FROM notifications"))
        assert notices.all() == []


@pytest.mark.parametrize("field", ["stats { held }", "audience { matched }"])
async def test_figures_are_for_the_owner_and_admins(
    services: Services, sign_in: SignIn, field: str
) -> None:
    promo = await make_promo(services.database)
    query = f"query p($id: ID!) {{ promo(id: $id) {{ {field} }} }}"
    for role in (Role.USER, Role.MERCHANT):
        api, _ = await sign_in(role)
        assert (await api(query, id=str(promo))).code == "FORBIDDEN"
    admin, _ = await sign_in(Role.ADMIN)
    assert (await admin(query, id=str(promo)))["promo"] is not None


async def test_figures_of_many_promos_take_as_many_statements_as_of_two(
    services: Services, sign_in: SignIn
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    for _ in range(40):
        await make_promo(services.database, stock)
    figures = []
    for first in (2, 40):
        with counted(services.database) as statements:
            answer = await api(FIGURES, first=first)
            assert len(answer["promos"]["nodes"]) == first
        figures.append(len(statements))
    # who asks, the list, and one for each of the three figures
    assert figures == [5, 5]
