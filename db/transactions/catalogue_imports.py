"""A merchant's whole catalogue from a file: set-based, and repeatable without adding anything."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Product, Store, User
from db.models.accounts import Role
from db.transactions.catalogue import geography
from db.transactions.stock_imports import ImportResult, ImportRow, import_stock, listed

Named = tuple[UUID, str]
"""Owner and name: by these a store or a product of the file is the one that is there already."""


async def import_rows(
    session: AsyncSession, rows: Sequence[ImportRow], *, time_zone: str, now: datetime
) -> ImportResult:
    """Makes or brings up to date the stores, products and stock of the rows; of several rows for
    the same thing the last one counts. Owners become MERCHANT.

    `time_zone` is what a new store has whose row names none. A stock under the units that are held
    is refused; the row's store and product are kept all the same.
    """
    result = ImportResult()
    await _lock_owners(session, {row.owner_id for row in rows})
    by_store = {(row.owner_id, row.store): row for row in rows}
    stores = await _stores(session, by_store, time_zone, now, result.counts)
    by_product = {(row.owner_id, row.product): row for row in rows}
    by_product |= {(row.owner_id, row.product): row for row in rows if row.description is not None}
    products = await _products(session, by_product, now, result.counts)
    wanted = {
        (stores[row.owner_id, row.store], products[row.owner_id, row.product]): row for row in rows
    }
    await import_stock(session, wanted, now, result)
    return result


async def _lock_owners(session: AsyncSession, owner_ids: set[UUID]) -> None:
    """Two imports for one owner go one after the other: names are not unique in the database."""
    owners = User.id.in_(sorted(owner_ids))
    lock = select(User.id).where(owners).order_by(User.id).with_for_update(key_share=True)
    await session.execute(lock)
    await session.execute(
        update(User).where(owners, User.role == Role.USER).values(role=Role.MERCHANT)
    )


async def _stores(
    session: AsyncSession,
    rows: Mapping[Named, ImportRow],
    time_zone: str,
    now: datetime,
    counts: Counter[str],
) -> dict[Named, int]:
    wanted = listed(owner=(Uuid(), [key[0] for key in rows]), name=(Text(), [k[1] for k in rows]))
    place = func.geometry(Store.geom)
    there = await session.execute(
        select(
            Store.id,
            Store.owner_id,
            Store.name,
            func.ST_Y(place),
            func.ST_X(place),
            Store.time_zone,
        )
        .join(wanted, (wanted.c.owner == Store.owner_id) & (wanted.c.name == Store.name))
        .order_by(Store.id.desc())  # of two with one name, the older one
        .with_for_update(read=True, key_share=True, of=Store)
    )
    ids, stale = {}, {}
    for id_, owner, name, latitude, longitude, zone in there:
        row = rows[owner, name]
        ids[owner, name] = id_
        same = row.location == (latitude, longitude) and row.time_zone in {None, zone}
        stale[owner, name] = None if same else row
    changed = {ids[key]: row for key, row in stale.items() if row is not None}
    await _change_stores(session, changed, now)
    new = [row for key, row in rows.items() if key not in ids]
    made = await _make_stores(session, new, time_zone, now)
    counts.update({"stores made": len(made), "stores changed": len(changed)})
    return ids | made


async def _change_stores(
    session: AsyncSession, rows: Mapping[int, ImportRow], now: datetime
) -> None:
    if not rows:
        return
    wanted = listed(
        id=(BigInteger(), list(rows)),
        place=(Text(), [geography(row.location) for row in rows.values()]),
        zone=(Text(), [row.time_zone for row in rows.values()]),
    )
    await session.execute(
        update(Store)
        .where(Store.id == wanted.c.id)
        .values(
            geom=func.ST_GeogFromText(wanted.c.place),
            time_zone=func.coalesce(wanted.c.zone, Store.time_zone),
            updated_at=now,
        )
    )


async def _make_stores(
    session: AsyncSession, rows: Sequence[ImportRow], time_zone: str, now: datetime
) -> dict[Named, int]:
    if not rows:
        return {}
    wanted = listed(
        owner=(Uuid(), [row.owner_id for row in rows]),
        name=(Text(), [row.store for row in rows]),
        place=(Text(), [geography(row.location) for row in rows]),
        zone=(Text(), [row.time_zone or time_zone for row in rows]),
    )
    cells = (wanted.c.owner, wanted.c.name, func.ST_GeogFromText(wanted.c.place), wanted.c.zone)
    columns = ["owner_id", "name", "geom", "time_zone", "created_at", "updated_at"]
    made = await session.execute(
        insert(Store)
        .from_select(columns, select(*cells, literal(now), literal(now)))
        .returning(Store.id, Store.owner_id, Store.name)
    )
    return {(owner, name): id_ for id_, owner, name in made}


async def _products(
    session: AsyncSession, rows: Mapping[Named, ImportRow], now: datetime, counts: Counter[str]
) -> dict[Named, int]:
    wanted = listed(owner=(Uuid(), [key[0] for key in rows]), name=(Text(), [k[1] for k in rows]))
    there: Any = await session.execute(
        select(Product.id, Product.owner_id, Product.name, Product.description)
        .join(wanted, (wanted.c.owner == Product.owner_id) & (wanted.c.name == Product.name))
        .order_by(Product.id.desc())
        .with_for_update(read=True, key_share=True, of=Product)
    )
    ids: dict[Named, int] = {}
    stale: dict[Named, str | None] = {}
    for id_, owner, name, description in there:
        ids[owner, name] = id_
        said = rows[owner, name].description
        stale[owner, name] = None if said == description else said
    changed = {ids[key]: said for key, said in stale.items() if said is not None}
    if changed:
        told = listed(id=(BigInteger(), list(changed)), text=(Text(), list(changed.values())))
        await session.execute(
            update(Product)
            .where(Product.id == told.c.id)
            .values(description=told.c.text, updated_at=now)
        )
    new = [row for key, row in rows.items() if key not in ids]
    made = await _make_products(session, new, now)
    counts.update({"products made": len(made), "products changed": len(changed)})
    return ids | made


async def _make_products(
    session: AsyncSession, rows: Sequence[ImportRow], now: datetime
) -> dict[Named, int]:
    if not rows:
        return {}
    wanted = listed(
        owner=(Uuid(), [row.owner_id for row in rows]),
        name=(Text(), [row.product for row in rows]),
        text=(Text(), [row.description for row in rows]),
    )
    cells = (wanted.c.owner, wanted.c.name, wanted.c.text, literal(now), literal(now))
    columns = ["owner_id", "name", "description", "created_at", "updated_at"]
    made: Any = await session.execute(
        insert(Product)
        .from_select(columns, select(*cells))
        .returning(Product.id, Product.owner_id, Product.name)
    )
    return {(owner, name): id_ for id_, owner, name in made}
