"""Products and stores: who made one may change it, and so may an ADMIN."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import InputRejected
from db.models import Product, Store, User
from db.models.accounts import Role
from db.queries.catalogue import ProductRow, StoreRow, products_by_id, stores_by_id
from db.transactions.catalogue_rules import PRODUCT, STORE, Values, checked, require_owner


async def create_product(
    session: AsyncSession, *, owner_id: UUID, values: Values, now: datetime
) -> ProductRow:
    """`values` may hold name and description. Raises InputRejected."""
    kept = checked(PRODUCT, values, making=True)
    made = await session.execute(
        insert(Product)
        .values(owner_id=owner_id, created_at=now, updated_at=now, **kept)
        .returning(Product.id)
    )
    return await _product(session, made.scalar_one())


async def update_product(
    session: AsyncSession,
    product_id: int,
    *,
    by: UUID,
    is_admin: bool,
    values: Values,
    now: datetime,
) -> ProductRow:
    """Changes what `values` holds. Raises InputRejected (NOT_FOUND and what is wrong), NotOwner."""
    await _own(session, Product, product_id, by, is_admin=is_admin)
    kept = checked(PRODUCT, values, making=False)
    if kept:
        changes = update(Product).where(Product.id == product_id).values(updated_at=now, **kept)
        await session.execute(changes)
    return await _product(session, product_id)


async def delete_product(
    session: AsyncSession, product_id: int, *, by: UUID, is_admin: bool
) -> None:
    """Raises InputRejected (NOT_FOUND; IN_USE while a store has it), NotOwner."""
    await _own(session, Product, product_id, by, is_admin=is_admin)
    await _delete(session, Product, product_id, "A store has stock of this product")


async def create_store(
    session: AsyncSession, *, owner_id: UUID, values: Values, time_zone: str, now: datetime
) -> StoreRow:
    """`values` may hold name, location as (latitude, longitude) in degrees, and time_zone; else
    the store keeps `time_zone`. Its owner becomes a MERCHANT. Raises InputRejected."""
    kept = _stored(checked(STORE, values, making=True))
    kept["time_zone"] = kept.get("time_zone") or time_zone
    made = await session.execute(
        insert(Store)
        .values(owner_id=owner_id, created_at=now, updated_at=now, **kept)
        .returning(Store.id)
    )
    await session.execute(
        update(User).where(User.id == owner_id, User.role == Role.USER).values(role=Role.MERCHANT)
    )
    return await _store(session, made.scalar_one())


async def update_store(
    session: AsyncSession,
    store_id: int,
    *,
    by: UUID,
    is_admin: bool,
    values: Values,
    now: datetime,
) -> StoreRow:
    """Changes what `values` holds; its promos move with it.

    Raises InputRejected (NOT_FOUND and what is wrong), NotOwner.
    """
    await _own(session, Store, store_id, by, is_admin=is_admin)
    kept = _stored(checked(STORE, values, making=False))
    if kept:
        changes = update(Store).where(Store.id == store_id).values(updated_at=now, **kept)
        await session.execute(changes)
    return await _store(session, store_id)


async def delete_store(session: AsyncSession, store_id: int, *, by: UUID, is_admin: bool) -> None:
    """Raises InputRejected (NOT_FOUND; IN_USE while it has stock), NotOwner."""
    await _own(session, Store, store_id, by, is_admin=is_admin)
    await _delete(session, Store, store_id, "The store has stock of products")


def geography(location: tuple[float, float]) -> str:
    """As the database takes it; latitude and longitude in degrees."""
    latitude, longitude = location
    return f"SRID=4326;POINT({longitude!r} {latitude!r})"


def _stored(kept: dict[str, Any]) -> dict[str, Any]:
    location = kept.pop("location", None)
    return kept if location is None else {**kept, "geom": geography(location)}


async def _own(
    session: AsyncSession,
    table: type[Product | Store],
    row_id: int,
    by: UUID,
    *,
    is_admin: bool,
) -> None:
    """Locks the row. Raises InputRejected (NOT_FOUND) and NotOwner."""
    found = await session.execute(
        select(table.owner_id).where(table.id == row_id).with_for_update(key_share=True)
    )
    row = found.one_or_none()
    if row is None:
        message = f"There is no such {table.__name__.lower()}"
        raise InputRejected.one("NOT_FOUND", ("id",), message)
    require_owner(row.owner_id, by, is_admin=is_admin)


async def _delete(
    session: AsyncSession, table: type[Product | Store], row_id: int, why_not: str
) -> None:
    try:
        await session.execute(delete(table).where(table.id == row_id))
    except IntegrityError as error:
        # The foreign key decides: a look before the write would miss a row of another transaction.
        raise InputRejected.one("IN_USE", ("id",), why_not) from error


async def _product(session: AsyncSession, product_id: int) -> ProductRow:
    return (await products_by_id(session, [product_id]))[product_id]


async def _store(session: AsyncSession, store_id: int) -> StoreRow:
    return (await stores_by_id(session, [store_id]))[store_id]
