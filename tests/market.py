"""A market for the tests: stores, stock and promos, written straight to the tables.

The operations that make them have tests of their own; these only need them to be there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import update

from db.models import Product, Profile, Promo, Store, StoreProduct
from db.models.accounts import Role
from db.models.promos import PromoStatus
from db.session import Database
from tests.factories import make_user, right_now

BOGOTA = (4.65, -74.06)
"""Latitude and longitude of the market's first store."""
METERS_PER_DEGREE_NORTH = 110_574.4
"""Near the equator, on WGS 84."""

_numbers = count(1)


def north_of(place: tuple[float, float], meters: float) -> tuple[float, float]:
    return (place[0] + meters / METERS_PER_DEGREE_NORTH, place[1])


def point(place: tuple[float, float]) -> str:
    return f"SRID=4326;POINT({place[1]!r} {place[0]!r})"


@dataclass(frozen=True)
class Stock:
    owner_id: UUID
    store_id: int
    product_id: int
    id: int


async def make_stock(
    database: Database,
    *,
    units: int = 10,
    price: str = "1000.00",
    owner_id: UUID | None = None,
    place: tuple[float, float] = BOGOTA,
    name: str | None = None,
) -> Stock:
    """A store with a product and so many units of it; its owner is a MERCHANT."""
    owner = owner_id or (await make_user(database, role=Role.MERCHANT)).id
    number = next(_numbers)
    async with database.transaction() as session:
        store = Store(
            owner_id=owner,
            name=name or f"Store {number}",
            geom=point(place),
            time_zone="America/Bogota",
        )
        product = Product(owner_id=owner, name=f"Product {number}")
        session.add_all([store, product])
        await session.flush()
        stock = StoreProduct(
            store_id=store.id, product_id=product.id, on_hand=units, base_price=Decimal(price)
        )
        session.add(stock)
        await session.flush()
        return Stock(owner, store.id, product.id, stock.id)


async def make_promo(
    database: Database,
    stock: Stock | None = None,
    *,
    units: int = 10,
    status: PromoStatus = PromoStatus.ACTIVE,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    **terms: Any,
) -> int:
    """An active promo from an hour ago to an hour ahead, unless told otherwise; its id."""
    stock = stock or await make_stock(database, units=units)
    async with database.transaction() as session:
        promo = Promo(
            store_product_id=stock.id,
            starts_at=starts_at or right_now() - timedelta(hours=1),
            ends_at=ends_at or right_now() + timedelta(hours=1),
            status=status,
            **terms,
        )
        session.add(promo)
        await session.flush()
        return promo.id


async def place_user(
    database: Database,
    user_id: UUID,
    place: tuple[float, float] | None = BOGOTA,
    **profile: Any,
) -> None:
    """Puts a person somewhere, and sets other columns of the profile."""
    async with database.transaction() as session:
        await session.execute(
            update(Profile)
            .where(Profile.user_id == user_id)
            .values(geom=point(place) if place else None, **profile)
        )
