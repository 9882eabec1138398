"""Creating a promo: whose stock, which terms, and when (F20, F45h)."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from db.models.accounts import Role
from schema.edge.services import Services
from schema.promos import price_credits
from tests.catalogue.waiting import somebody_waits
from tests.clients import SignIn
from tests.factories import right_now
from tests.market import make_stock
from tests.promos.offers import count_promos, create, hours, offer, problems


async def test_it_is_scheduled_with_the_servers_defaults(
    services: Services, sign_in: SignIn
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=7, owner_id=merchant.id)
    answer = await create(api, **offer(stock))
    assert answer["userErrors"] == []
    promo = {name: value for name, value in answer["promo"].items() if not name.endswith("At")}
    del promo["id"]
    assert promo == {
        "status": "SCHEDULED",
        "segments": ["NEW", "FREQUENT"],
        "radiusMeters": 2000,
        "discountPercent": 0,
        "quota": None,
        "maxPerUser": None,
        "holdSeconds": 60,
        "enforceAudience": False,
        "remaining": 7,
        "waitlistLength": 0,
        "price": {"amount": "1000.00", "currency": services.policy.currency},
        "priceCredits": str(price_credits(Decimal(1000), services.policy.credits_per_unit)),
        "admissionPolicy": {"mode": "OPEN", "admitAbove": 0.5, "denyBelow": 0},
    }


async def test_it_is_scheduled_even_if_its_start_is_past(
    services: Services, sign_in: SignIn
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    answer = await create(api, **offer(stock, startsAt=hours(-5).isoformat()))
    assert answer["promo"]["status"] == "SCHEDULED"


async def test_every_term_can_be_given(services: Services, sign_in: SignIn) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, units=9, owner_id=merchant.id)
    terms: dict[str, Any] = {
        "segments": ["FREQUENT", "FREQUENT"],
        "radiusMeters": 50_000,
        "discountPercent": 12.25,
        "quota": 5,
        "maxPerUser": 2,
        "holdSeconds": 86_400,
        "enforceAudience": True,
        "admissionPolicy": {"mode": "SCORED", "admitAbove": 1, "denyBelow": 1},
    }
    promo = (await create(api, **offer(stock, **terms)))["promo"]
    assert {name: promo[name] for name in terms} == terms | {"segments": ["FREQUENT"]}
    assert promo["remaining"] == 5
    assert promo["price"]["amount"] == "877.50"


async def test_an_empty_list_of_segments_is_everybody(services: Services, sign_in: SignIn) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    assert (await create(api, **offer(stock, segments=[])))["promo"]["segments"] == []


async def test_stock_and_schedule_are_needed(services: Services, sign_in: SignIn) -> None:
    api, _ = await sign_in(Role.MERCHANT)
    assert problems(await create(api)) == [
        ("REQUIRED", "input.storeProductId"),
        ("REQUIRED", "input.startsAt"),
        ("REQUIRED", "input.endsAt"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "storeProductId",
        "startsAt",
        "endsAt",
        "segments",
        "radiusMeters",
        "discountPercent",
        "holdSeconds",
        "enforceAudience",
        "admissionPolicy",
    ],
)
async def test_null_is_refused_where_there_is_nothing_to_clear(
    services: Services, sign_in: SignIn, name: str
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    answer = await create(api, **offer(stock, **{name: None}))
    assert problems(answer) == [("REQUIRED", f"input.{name}")]
    assert await count_promos(services.database) == 0


@pytest.mark.parametrize(
    ("starts", "ends"), [(1, 1), (1, 0.5), (-2, -1)], ids=["equal", "reversed", "past"]
)
async def test_a_schedule_that_can_never_run_is_invalid(
    services: Services, sign_in: SignIn, starts: float, ends: float
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    now = right_now()
    answer = await create(
        api,
        **offer(
            stock,
            startsAt=(now + timedelta(hours=starts)).isoformat(),
            endsAt=(now + timedelta(hours=ends)).isoformat(),
        ),
    )
    assert problems(answer) == [("INVALID_SCHEDULE", "input.endsAt")]
    assert answer["promo"] is None
    assert await count_promos(services.database) == 0


@pytest.mark.parametrize(
    ("terms", "path"),
    [
        ({"radiusMeters": 0}, "radiusMeters"),
        ({"radiusMeters": -1}, "radiusMeters"),
        ({"radiusMeters": 49.99}, "radiusMeters"),
        ({"radiusMeters": 50_000.001}, "radiusMeters"),
        ({"radiusMeters": 1e300}, "radiusMeters"),
        ({"discountPercent": -0.01}, "discountPercent"),
        ({"discountPercent": 100.01}, "discountPercent"),
        ({"discountPercent": 12.345}, "discountPercent"),
        ({"discountPercent": 1e-7}, "discountPercent"),
        ({"quota": 0}, "quota"),
        ({"maxPerUser": 0}, "maxPerUser"),
        ({"holdSeconds": 0}, "holdSeconds"),
        ({"holdSeconds": 86_401}, "holdSeconds"),
        ({"admissionPolicy": {"mode": "SCORED", "admitAbove": 1.01}}, "admissionPolicy.admitAbove"),
        ({"admissionPolicy": {"mode": "SCORED", "denyBelow": -0.1}}, "admissionPolicy.denyBelow"),
        ({"admissionPolicy": {"mode": "OPEN", "denyBelow": 0.51}}, "admissionPolicy.denyBelow"),
    ],
)
async def test_a_term_out_of_range_is_named(
    services: Services, sign_in: SignIn, terms: dict[str, Any], path: str
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    answer = await create(api, **offer(stock, **terms))
    assert problems(answer) == [("OUT_OF_RANGE", f"input.{path}")]
    assert path.rsplit(".", maxsplit=1)[-1] in answer["userErrors"][0]["message"]
    assert await count_promos(services.database) == 0


async def test_all_that_is_wrong_is_said_at_once(services: Services, sign_in: SignIn) -> None:
    api, _ = await sign_in(Role.MERCHANT)
    ends_at = hours(-1).isoformat()
    answer = await create(
        api, storeProductId="999999", endsAt=ends_at, startsAt=ends_at, quota=0, radiusMeters=0
    )
    assert problems(answer) == [
        ("NOT_FOUND", "input.storeProductId"),
        ("OUT_OF_RANGE", "input.quota"),
        ("OUT_OF_RANGE", "input.radiusMeters"),
        ("INVALID_SCHEDULE", "input.endsAt"),
    ]


async def test_somebody_elses_stock_is_forbidden(services: Services, sign_in: SignIn) -> None:
    api, _ = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database)
    answer = await api(
        "mutation c($i: PromoInput!) { createPromo(input: $i) { promo { id } } }", i=offer(stock)
    )
    assert answer.code == "FORBIDDEN"
    assert await count_promos(services.database) == 0


async def test_an_admin_may_offer_any_stock(services: Services, sign_in: SignIn) -> None:
    api, _ = await sign_in(Role.ADMIN)
    stock = await make_stock(services.database)
    assert (await create(api, **offer(stock)))["promo"]["status"] == "SCHEDULED"


async def test_a_user_may_not_make_promos(services: Services, sign_in: SignIn) -> None:
    api, _ = await sign_in(Role.USER)
    stock = await make_stock(services.database)
    answer = await api(
        "mutation c($i: PromoInput!) { createPromo(input: $i) { promo { id } } }", i=offer(stock)
    )
    assert answer.code == "FORBIDDEN"
    assert await count_promos(services.database) == 0


async def test_global_ids_are_accepted_and_those_of_other_types_are_not(
    services: Services, sign_in: SignIn
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    found = await api(f'{{ storeProduct(id: "{stock.id}") {{ id store {{ id }} }} }}')
    row = found["storeProduct"]
    assert (await create(api, **offer(stock, storeProductId=row["id"])))["promo"] is not None
    answer = await api(
        "mutation c($i: PromoInput!) { createPromo(input: $i) { promo { id } } }",
        i=offer(stock, storeProductId=row["store"]["id"]),
    )
    assert answer.code == "BAD_USER_INPUT"


async def test_it_lies_where_its_store_lies(services: Services, sign_in: SignIn) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    await create(api, **offer(stock))
    async with services.database.read() as reader:
        apart = await reader.exec_driver_sql(
            "SELECT ST_Distance(flash_promos.geom, stores.geom) FROM flash_promos, stores"
        )
        assert apart.scalar_one() == 0


async def test_a_discount_is_kept_exactly(services: Services, sign_in: SignIn) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    promo = (await create(api, **offer(stock, discountPercent=33.33)))["promo"]
    assert promo["discountPercent"] == 33.33
    async with services.database.read() as reader:
        row = await reader.exec_driver_sql("SELECT discount_percent FROM flash_promos")
        assert row.scalar_one() == Decimal("33.33")


async def test_a_promo_of_stock_that_is_being_deleted_is_refused(
    services: Services, sign_in: SignIn
) -> None:
    api, merchant = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=merchant.id)
    async with services.database.transaction() as session:
        await session.execute(text("DELETE FROM store_products"))
        made = asyncio.create_task(create(api, **offer(stock)))
        await somebody_waits(services.database)
    answer = await made
    assert problems(answer) == [("NOT_FOUND", "input.storeProductId")]
    assert await count_promos(services.database) == 0
