"""The locks of a stock row and of the promos that sell from it, always in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Promo, Reservation, StoreProduct
from db.models.holds import ReservationStatus
from db.models.promos import PromoStatus


@dataclass
class LockedPromo:
    """Terms of a promo whose row is locked, as a hold needs them."""

    id: int
    status: str
    starts_at: datetime
    ends_at: datetime
    discount_percent: Decimal
    hold_seconds: int
    quota: int | None
    taken: int
    max_per_user: int | None
    enforce_audience: bool
    admission_mode: str

    def open_at(self, now: datetime) -> bool:
        """Both ends of the schedule belong to it."""
        return self.status == PromoStatus.ACTIVE and self.starts_at <= now <= self.ends_at


@dataclass
class LockedStock:
    """A stock row, locked after the promos that sell from it."""

    id: int
    on_hand: int
    held: int
    base_price: Decimal
    promos: dict[int, LockedPromo] = field(default_factory=dict)

    @property
    def promo_ids(self) -> list[int]:
        return list(self.promos)

    def available(self, promo: LockedPromo) -> int:
        """Units that the promo can still give out: of the stock and of its quota."""
        in_stock = self.on_hand - self.held
        return in_stock if promo.quota is None else min(in_stock, promo.quota - promo.taken)


PROMO_COLUMNS: tuple[Any, ...] = (
    Promo.id,
    Promo.status,
    Promo.starts_at,
    Promo.ends_at,
    Promo.discount_percent,
    Promo.hold_seconds,
    Promo.quota,
    Promo.taken,
    Promo.max_per_user,
    Promo.enforce_audience,
    Promo.admission_mode,
)
STOCK_COLUMNS: tuple[Any, ...] = (
    StoreProduct.id,
    StoreProduct.on_hand,
    StoreProduct.held,
    StoreProduct.base_price,
)


async def lock_stock(session: AsyncSession, store_product_id: int) -> LockedStock:
    """Locks every promo of the stock row that is active or has open holds, then the row itself.

    Raises NoResultFound if there is no such stock row.
    """
    promos = await lock_promos_of_stock(session, store_product_id)
    row = (
        await session.execute(
            select(*STOCK_COLUMNS)
            .where(StoreProduct.id == store_product_id)
            .with_for_update(key_share=True)
        )
    ).one()
    return _locked(row, promos)


async def lock_promos_of_stock(session: AsyncSession, store_product_id: int) -> list[LockedPromo]:
    """Locks them in the order of their ids, so that two who lock several can't wait in a ring."""
    open_holds = exists().where(
        Reservation.promo_id == Promo.id,
        Reservation.store_product_id == store_product_id,
        Reservation.status == ReservationStatus.HELD,
    )
    rows = await session.execute(
        select(*PROMO_COLUMNS)
        .where(
            Promo.store_product_id == store_product_id,
            or_(Promo.status == PromoStatus.ACTIVE, open_holds),
        )
        .order_by(Promo.id)
        .with_for_update(key_share=True)
    )
    return [LockedPromo(*row) for row in rows]


async def lock_promo(session: AsyncSession, promo_id: int) -> LockedStock | None:
    """Locks one promo and its stock row, in one statement; None if there is no such promo."""
    row = (
        await session.execute(
            select(*PROMO_COLUMNS, *STOCK_COLUMNS)
            .join(StoreProduct, StoreProduct.id == Promo.store_product_id)
            .where(Promo.id == promo_id)
            # locked in the order of the FROM list: the promo first
            .with_for_update(key_share=True, of=(Promo, StoreProduct))
        )
    ).one_or_none()
    if row is None:
        return None
    promo = LockedPromo(*row[: len(PROMO_COLUMNS)])
    return _locked(row[len(PROMO_COLUMNS) :], [promo])


def _locked(stock: Sequence[Any], promos: Sequence[LockedPromo]) -> LockedStock:
    stock_id, on_hand, held, base_price = stock
    return LockedStock(stock_id, on_hand, held, base_price, {promo.id: promo for promo in promos})
