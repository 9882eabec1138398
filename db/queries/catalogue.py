"""Reads over products and stores."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, column, func, literal, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY

from db.models import Product, Profile, Store, User
from db.models.accounts import LOCAL_ISSUER
from db.session import Reader

REACH_MARGIN_M = 1.0
"""ST_Distance rounds to nanometres and ST_DWithin does not: the farthest row must not fall out."""


@dataclass(frozen=True, slots=True)
class ProductRow:
    id: int
    owner_id: UUID | None
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StoreRow:
    id: int
    owner_id: UUID
    name: str
    latitude: float
    longitude: float
    time_zone: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Near:
    """Around a point in degrees; `within_m` None: however far."""

    latitude: float
    longitude: float
    within_m: float | None


@dataclass(frozen=True, slots=True)
class NearStore:
    store: StoreRow
    distance_m: float


PRODUCT = (
    Product.id,
    Product.owner_id,
    Product.name,
    Product.description,
    Product.created_at,
    Product.updated_at,
)
STORE = (
    Store.id,
    Store.owner_id,
    Store.name,
    func.ST_Y(func.geometry(Store.geom)).label("latitude"),
    func.ST_X(func.geometry(Store.geom)).label("longitude"),
    Store.time_zone,
    Store.created_at,
    Store.updated_at,
)


def _named(statement: Select[*tuple[Any, ...]], search: str | None) -> Select[Any]:
    # autoescape: a '%' that somebody looks for is a '%'
    return statement.where(Product.name.icontains(search, autoescape=True)) if search else statement


async def products_page(
    reader: Reader, limit: int, after_id: int, search: str | None
) -> list[ProductRow]:
    statement = _named(select(*PRODUCT), search).where(Product.id > after_id)
    rows = await reader.execute(statement.order_by(Product.id).limit(limit))
    return [ProductRow(*row) for row in rows]


async def count_products(reader: Reader, search: str | None) -> int:
    return await _count(reader, _named(select(func.count()).select_from(Product), search))


async def products_by_id(reader: Reader, product_ids: Sequence[int]) -> dict[int, ProductRow]:
    rows = await reader.execute(select(*PRODUCT).where(Product.id.in_(product_ids)))
    return {row.id: ProductRow(*row) for row in rows}


async def stores_page(reader: Reader, limit: int, after_id: int) -> list[StoreRow]:
    statement = select(*STORE).where(Store.id > after_id).order_by(Store.id).limit(limit)
    return [StoreRow(*row) for row in await reader.execute(statement)]


def point(latitude: float, longitude: float) -> ColumnElement[Any]:
    """A geography, from degrees."""
    return func.ST_GeogFromText(f"SRID=4326;POINT({longitude!r} {latitude!r})")


def _around(near: Near) -> ColumnElement[bool]:
    if near.within_m is None:
        return true()
    return func.ST_DWithin(Store.geom, point(near.latitude, near.longitude), near.within_m)


def nearest_stores(limit: int, near: Near, after: tuple[float, int] | None) -> Select[Any]:
    """Stores with their distance in metres, by (distance, id), behind `after`.

    The index hands out stores by their distance on the sphere, which may order two of them
    otherwise than the true one on the spheroid does. It therefore only says how far to look: the
    farthest of its first `limit` is at least as far as the last row of the page.
    """
    here = point(near.latitude, near.longitude)
    distance = func.ST_Distance(Store.geom, here)
    wanted = [_around(near)]
    if after is not None:
        wanted.append(tuple_(distance, Store.id) > tuple_(*after))
    first = (
        select(distance.label("distance_m"))
        .where(*wanted)
        .order_by(Store.geom.op("<->")(here))
        .limit(limit)
        .subquery("first")
    )
    reach = select(func.max(first.c.distance_m) + REACH_MARGIN_M).scalar_subquery()
    return (
        select(*STORE, distance.label("distance_m"))
        .where(func.ST_DWithin(Store.geom, here, reach), *wanted)
        .order_by(distance, Store.id)
        .limit(limit)
    )


async def stores_near(
    reader: Reader, limit: int, near: Near, after: tuple[float, int] | None
) -> list[NearStore]:
    """Nearest first; stores at the same distance by id."""
    rows = await reader.execute(nearest_stores(limit, near, after))
    return [NearStore(StoreRow(*row[:-1]), row[-1]) for row in rows]


async def count_stores(reader: Reader, near: Near | None) -> int:
    statement = select(func.count()).select_from(Store)
    return await _count(reader, statement.where(_around(near)) if near else statement)


async def stores_by_id(reader: Reader, store_ids: Sequence[int]) -> dict[int, StoreRow]:
    rows = await reader.execute(select(*STORE).where(Store.id.in_(store_ids)))
    return {row.id: StoreRow(*row) for row in rows}


async def store_distances(
    reader: Reader, store_ids: Sequence[int], latitude: float, longitude: float
) -> dict[int, float]:
    """Metres from a point in degrees, by store."""
    distance = func.ST_Distance(Store.geom, point(latitude, longitude))
    rows = await reader.execute(select(Store.id, distance).where(Store.id.in_(store_ids)))
    return {row[0]: row[1] for row in rows}


async def store_distances_of_user(
    reader: Reader, store_ids: Sequence[int], user_id: UUID
) -> dict[int, float]:
    """Metres from where the person is, by store; empty if nobody knows where that is."""
    rows = await reader.execute(
        select(Store.id, func.ST_Distance(Store.geom, Profile.geom))
        .join(Profile, true())
        .where(Store.id.in_(store_ids), Profile.user_id == user_id, Profile.geom.is_not(None))
    )
    return {row[0]: row[1] for row in rows}


async def _count(reader: Reader, statement: Select[Any]) -> int:
    count: int = (await reader.execute(statement)).scalar_one()
    return count


async def accounts_by_login(reader: Reader, logins: Sequence[str]) -> dict[str, list[UUID]]:
    """By user name or e-mail address, whatever the case. Where an account with a password here
    answers to one, accounts of outside providers with the same address don't."""
    listed = func.unnest(literal(list(logins), ARRAY(Text)))
    wanted = listed.table_valued(column("login", Text), name="wanted").render_derived()
    login = func.lower(wanted.c.login)
    rows = await reader.execute(
        select(wanted.c.login, User.id, User.issuer == LOCAL_ISSUER)
        .join(User, (func.lower(User.username) == login) | (func.lower(User.email) == login))
        .order_by((User.issuer == LOCAL_ISSUER).desc())
    )
    found: dict[str, list[UUID]] = {}
    settled = set()
    for name, user_id, local in rows:
        if name not in settled:
            found.setdefault(name, []).append(user_id)
        if local:
            settled.add(name)
    return found
