"""The stock part of an import: many rows at once, never under what is held."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Numeric, column, func, insert, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as insert_or_change
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import TableValuedAlias

from db.events import stock_topic
from db.models import Promo, StockAdjustment, StoreProduct, WaitlistEntry
from db.models.waitlists import WaitlistStatus
from db.transactions.offers import offer_stock
from db.transactions.stock import lock_promos_of_stock

REASON = "import"

Pair = tuple[int, int]
"""Ids of store and product."""


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One line, its values checked by catalogue_rules. None: what is there stays."""

    line: int
    owner_id: UUID
    store: str
    location: tuple[float, float]
    time_zone: str | None
    product: str
    description: str | None
    on_hand: int
    base_price: Decimal


@dataclass
class ImportResult:
    """What a batch did; its counters are named 'stores made', 'stock changed' and so on.

    `refused` holds line and reason; `topics` are to be published after the commit.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[int, str]] = field(default_factory=list)
    topics: set[str] = field(default_factory=set)


def listed(**columns: tuple[Any, Sequence[Any]]) -> TableValuedAlias:
    """A table of the columns' values: one parameter a column, however many rows."""
    arrays = (literal(list(cells), ARRAY(kind)) for kind, cells in columns.values())
    names = (column(name, kind) for name, (kind, _) in columns.items())
    return func.unnest(*arrays).table_valued(*names, name="wanted").render_derived()


STOCK = (
    StoreProduct.id,
    StoreProduct.store_id,
    StoreProduct.product_id,
    StoreProduct.on_hand,
    StoreProduct.held,
    StoreProduct.base_price,
)


async def import_stock(
    session: AsyncSession, rows: Mapping[Pair, ImportRow], now: datetime, result: ImportResult
) -> None:
    """Makes or brings up to date the stock of stores and products that are there; units that are
    added are offered to who waits for them."""
    present = await _present(session, rows)
    stale = {pair: row for pair, row in present.items() if not _same(row, rows[pair])}
    raised = [row.id for pair, row in stale.items() if rows[pair].on_hand > row.on_hand]
    awaited = await _lock_awaited(session, raised)
    changes = await _lock(session, rows, [row.id for row in stale.values()], result.refused)
    new = [pair for pair in rows if pair not in present]
    await _write(session, {pair: rows[pair] for pair in [*new, *changes]}, now)
    await _write_down(session, rows, changes, now)
    result.counts.update({"stock made": len(new), "stock changed": len(changes)})
    result.topics |= {stock_topic(row.id) for row in changes.values()}
    for stock_id in awaited:
        result.topics |= await offer_stock(session, stock_id, now)


async def _present(session: AsyncSession, pairs: Collection[Pair]) -> dict[Pair, Any]:
    wanted = listed(
        store=(BigInteger(), [pair[0] for pair in pairs]),
        product=(BigInteger(), [pair[1] for pair in pairs]),
    )
    same_store = wanted.c.store == StoreProduct.store_id
    there = await session.execute(
        select(*STOCK).join(wanted, same_store & (wanted.c.product == StoreProduct.product_id))
    )
    return {(row.store_id, row.product_id): row for row in there}


async def _lock(
    session: AsyncSession,
    rows: Mapping[Pair, ImportRow],
    stock_ids: Sequence[int],
    refused: list[tuple[int, str]],
) -> dict[Pair, Any]:
    """The stock rows as they are now; those with more units held than the file has are refused."""
    locked = await session.execute(
        select(*STOCK)
        .where(StoreProduct.id.in_(stock_ids))
        .order_by(StoreProduct.id)
        .with_for_update(key_share=True)
    )
    changes: dict[Pair, Any] = {}
    for row in locked:
        wanted = rows[row.store_id, row.product_id]
        if wanted.on_hand >= row.held:
            changes[row.store_id, row.product_id] = row
        else:
            reason = f"stock must be at least {row.held}, the units that are held, got "
            refused.append((wanted.line, f"{reason}{wanted.on_hand}"))
    return changes


def _same(row: Any, wanted: ImportRow) -> bool:
    return bool(row.on_hand == wanted.on_hand and row.base_price == wanted.base_price)


async def _lock_awaited(session: AsyncSession, stock_ids: Sequence[int]) -> list[int]:
    """Those of the stock rows whose units somebody waits for; their promos are locked now, since
    promos are locked before stock."""
    awaited = await session.scalars(
        select(Promo.store_product_id)
        .join(WaitlistEntry, WaitlistEntry.promo_id == Promo.id)
        .where(
            Promo.store_product_id.in_(stock_ids), WaitlistEntry.status == WaitlistStatus.WAITING
        )
        .distinct()
        .order_by(Promo.store_product_id)
    )
    found = list(awaited)
    for stock_id in found:
        await lock_promos_of_stock(session, stock_id)
    return found


async def _write(session: AsyncSession, rows: Mapping[Pair, ImportRow], now: datetime) -> None:
    if not rows:
        return
    wanted = listed(
        store=(BigInteger(), [pair[0] for pair in rows]),
        product=(BigInteger(), [pair[1] for pair in rows]),
        on_hand=(Integer(), [row.on_hand for row in rows.values()]),
        price=(Numeric(14, 2), [row.base_price for row in rows.values()]),
    )
    columns = ["store_id", "product_id", "on_hand", "base_price", "created_at", "updated_at"]
    added = insert_or_change(StoreProduct).from_select(
        columns, select(*wanted.c, literal(now), literal(now))
    )
    names = ("on_hand", "base_price", "updated_at")
    await session.execute(
        added.on_conflict_do_update(
            index_elements=[StoreProduct.store_id, StoreProduct.product_id],
            set_={name: added.excluded[name] for name in names},
            # one that the API put in meanwhile may have open holds already
            where=StoreProduct.held <= added.excluded.on_hand,
        )
    )


async def _write_down(
    session: AsyncSession,
    rows: Mapping[Pair, ImportRow],
    changes: Mapping[Pair, Any],
    now: datetime,
) -> None:
    """Why units changed, in the name of the store's owner."""
    told = [
        {
            "store_product_id": row.id,
            "by_user_id": rows[pair].owner_id,
            "delta": rows[pair].on_hand - row.on_hand,
            "reason": REASON,
            "at": now,
        }
        for pair, row in changes.items()
        if rows[pair].on_hand != row.on_hand
    ]
    if told:
        await session.execute(insert(StockAdjustment), told)
