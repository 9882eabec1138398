"""Stock: which store has how many units of which product, and at what price."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_if_missing
from sqlalchemy.exc import IntegrityError, NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import InputProblem, InputRejected, Path
from db.events import stock_topic
from db.idempotency import claim
from db.models import Product, StockAdjustment, Store, StoreProduct
from db.queries.store_products import StoreProductRow, store_products_by_id
from db.transactions.catalogue_rules import (
    LONGEST_REASON,
    MOST_UNITS,
    STORE_PRODUCT,
    Values,
    checked,
    require_owner,
    text_problems,
)
from db.transactions.offers import offer_stock
from db.transactions.stock import LockedStock, lock_stock

KEY_FIELD: Path = ("idempotencyKey",)


@dataclass(frozen=True, slots=True)
class StockChange:
    """The row after the change, and the topics to publish once it is committed."""

    row: StoreProductRow
    topics: frozenset[str] = frozenset()


async def create_store_product(
    session: AsyncSession, *, by: UUID, is_admin: bool, values: Values, now: datetime
) -> StoreProductRow:
    """`values` must hold store_id, product_id, on_hand and base_price.

    Raises InputRejected (what is wrong, NOT_FOUND, TAKEN), NotOwner for somebody else's store.
    """
    kept = checked(STORE_PRODUCT, values, making=True)
    await _require_parents(session, kept, by, is_admin=is_admin)
    made = await session.execute(
        insert_if_missing(StoreProduct)
        .values(created_at=now, updated_at=now, **kept)
        .on_conflict_do_nothing(index_elements=[StoreProduct.store_id, StoreProduct.product_id])
        .returning(StoreProduct.id)
    )
    stock_id = made.scalar_one_or_none()
    if stock_id is None:
        message = "The store has this product already: change its stock instead"
        raise InputRejected.one("TAKEN", ("input", "productId"), message)
    return await _row(session, stock_id)


async def _require_parents(
    session: AsyncSession, kept: Mapping[str, Any], by: UUID, *, is_admin: bool
) -> None:
    """Locks store and product against deletion. Raises InputRejected (NOT_FOUND), NotOwner."""
    store = await session.execute(
        select(Store.owner_id)
        .where(Store.id == kept["store_id"])
        .with_for_update(read=True, key_share=True)
    )
    product = await session.execute(
        select(Product.id)
        .where(Product.id == kept["product_id"])
        .with_for_update(read=True, key_share=True)
    )
    owner_id = store.scalar_one_or_none()
    found = {"store": owner_id is not None, "product": product.scalar_one_or_none() is not None}
    missing = [
        InputProblem("NOT_FOUND", ("input", f"{name}Id"), f"There is no such {name}")
        for name, there in found.items()
        if not there
    ]
    if missing:
        raise InputRejected(missing)
    require_owner(owner_id, by, is_admin=is_admin)


async def update_store_product(
    session: AsyncSession,
    stock_id: int,
    *,
    by: UUID,
    is_admin: bool,
    values: Values,
    now: datetime,
) -> StockChange:
    """Changes on_hand or base_price; units that come free are offered to who waits for them.

    Raises InputRejected (NOT_FOUND; READ_ONLY for another store or product; OUT_OF_RANGE for a
    stock under the units held), NotOwner.
    """
    present = await _own(session, stock_id, ("id",), by, is_admin=is_admin)
    _refuse_move(present, values)
    kept = checked(STORE_PRODUCT, values, making=False)
    stock = await _lock(session, stock_id, ("id",))
    on_hand = kept.get("on_hand", stock.on_hand)
    if on_hand < stock.held:
        message = f"stock must be at least {stock.held}, the units that are held, got {on_hand}"
        raise InputRejected.one("OUT_OF_RANGE", ("input", "stock"), message)
    if not kept:
        return StockChange(await _row(session, stock_id))
    changes = update(StoreProduct).where(StoreProduct.id == stock_id)
    await session.execute(changes.values(updated_at=now, **kept))
    reason = f"set to {on_hand}"
    return await _changed(session, stock, on_hand - stock.on_hand, reason, by, now)


def _refuse_move(present: StoreProductRow, values: Values) -> None:
    """Store and product make the row what it is; naming the same ones again is no change."""
    ids = {
        "store_id": ("storeId", present.store.id),
        "product_id": ("productId", present.product.id),
    }
    moved = [
        InputProblem("READ_ONLY", ("input", name), f"{name} can't be changed")
        for key, (name, now_at) in ids.items()
        if values.get(key, now_at) not in {now_at, None}
    ]
    if moved:
        raise InputRejected(moved)


async def adjust_stock(
    session: AsyncSession,
    stock_id: int,
    *,
    by: UUID,
    is_admin: bool,
    delta: int,
    reason: str | None,
    key: str | None,
    now: datetime,
) -> StockChange:
    """Adds or takes away units; a repeat of `key` does nothing more.

    Raises InputRejected (NOT_FOUND, OUT_OF_RANGE, IDEMPOTENCY_KEY_REUSED), NotOwner.
    """
    _check_adjustment(delta, reason)
    done = await claim(
        session,
        user_id=by,
        operation="adjustStock",
        key=key,
        request={"stock": stock_id, "delta": delta, "reason": reason},
        ref=str(stock_id),
        now=now,
        field=KEY_FIELD,
    )
    await _own(session, stock_id, ("storeProductId",), by, is_admin=is_admin)
    if done is not None:
        return StockChange(await _row(session, stock_id))
    stock = await _lock(session, stock_id, ("storeProductId",))
    _check_result(stock, delta)
    await session.execute(
        update(StoreProduct)
        .where(StoreProduct.id == stock_id)
        .values(on_hand=StoreProduct.on_hand + delta, updated_at=now)
    )
    return await _changed(session, stock, delta, reason, by, now)


def _check_adjustment(delta: int, reason: str | None) -> None:
    found = list(text_problems(("reason",), reason or "", LONGEST_REASON))
    if delta == 0:
        message = "delta must not be 0: it is what is added or, if negative, taken away"
        found.insert(0, InputProblem("OUT_OF_RANGE", ("delta",), message))
    if found:
        raise InputRejected(found)


def _check_result(stock: LockedStock, delta: int) -> None:
    free, room = stock.on_hand - stock.held, MOST_UNITS - stock.on_hand
    if delta < -free:
        message = f"delta may take away {free} units at most: {stock.held} are held, got {delta}"
    elif delta > room:
        message = f"delta may add {room} units at most, got {delta}"
    else:
        return
    raise InputRejected.one("OUT_OF_RANGE", ("delta",), message)


async def _changed(
    session: AsyncSession,
    stock: LockedStock,
    delta: int,
    reason: str | None,
    by: UUID,
    now: datetime,
) -> StockChange:
    """Writes down why, and offers units that were added."""
    topics = {stock_topic(stock.id)}
    if delta:
        await session.execute(
            insert(StockAdjustment).values(
                store_product_id=stock.id, by_user_id=by, delta=delta, reason=reason, at=now
            )
        )
    if delta > 0:
        topics |= await offer_stock(session, stock.id, now)
    return StockChange(await _row(session, stock.id), frozenset(topics))


async def delete_store_product(
    session: AsyncSession, stock_id: int, *, by: UUID, is_admin: bool
) -> None:
    """Raises InputRejected (NOT_FOUND; IN_USE while promos name it), NotOwner."""
    await _own(session, stock_id, ("id",), by, is_admin=is_admin)
    try:
        await session.execute(delete(StoreProduct).where(StoreProduct.id == stock_id))
    except IntegrityError as error:
        message = "Promos were made of this stock"
        raise InputRejected.one("IN_USE", ("id",), message) from error


async def _own(
    session: AsyncSession, stock_id: int, field: Path, by: UUID, *, is_admin: bool
) -> StoreProductRow:
    """Without a lock: a store's owner stays. Raises InputRejected (NOT_FOUND) and NotOwner."""
    row = (await store_products_by_id(session, [stock_id])).get(stock_id)
    if row is None:
        raise _nothing(field)
    require_owner(row.store.owner_id, by, is_admin=is_admin)
    return row


async def _lock(session: AsyncSession, stock_id: int, field: Path) -> LockedStock:
    """Raises InputRejected (NOT_FOUND) if it was deleted since it was looked at."""
    try:
        return await lock_stock(session, stock_id)
    except NoResultFound:
        raise _nothing(field) from None


def _nothing(field: Path) -> InputRejected:
    return InputRejected.one("NOT_FOUND", field, "There is no such stock row")


async def _row(session: AsyncSession, stock_id: int) -> StoreProductRow:
    return (await store_products_by_id(session, [stock_id]))[stock_id]
