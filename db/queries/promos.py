"""Reads over promos: column queries that return plain rows."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from operator import eq, ge, lt
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    any_,
    bindparam,
    func,
    literal,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute

from db.models import (
    Notification,
    Prediction,
    Product,
    Promo,
    Reservation,
    Store,
    StoreProduct,
    WaitlistEntry,
)
from db.models.notifications import NotificationKind
from db.models.predictions import AdmissionDecision
from db.models.waitlists import WaitlistStatus
from db.queries.holds import true_status
from db.session import Reader

CENT = Decimal("0.01")

Operator = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class PromoRow:
    """A promo with what its stock row, store and product say: to-one links are joined."""

    id: int
    store_product_id: int
    starts_at: datetime
    ends_at: datetime
    status: str
    segments: list[str]
    radius_m: float
    discount_percent: Decimal
    hold_seconds: int
    quota: int | None
    taken: int
    max_per_user: int | None
    enforce_audience: bool
    admission_mode: str
    admit_above: float
    deny_below: float
    created_at: datetime
    updated_at: datetime
    base_price: Decimal
    on_hand: int
    held: int
    store_id: int
    product_id: int
    owner_id: UUID
    latitude: float
    longitude: float
    store_name: str
    product_name: str


def remaining(row: PromoRow) -> int:
    """Units that can be reserved now: of the stock row, and of the promo's quota if it has one."""
    available = row.on_hand - row.held
    return available if row.quota is None else min(available, row.quota - row.taken)


def price(base_price: Decimal, discount_percent: Decimal) -> Decimal:
    """The price of a unit after the discount, rounded half up to two digits."""
    discounted = base_price * (100 - discount_percent) / 100
    return discounted.quantize(CENT, rounding=ROUND_HALF_UP)


PROMO_COLUMNS = (
    Promo.id,
    Promo.store_product_id,
    Promo.starts_at,
    Promo.ends_at,
    Promo.status,
    Promo.segments,
    Promo.radius_m,
    Promo.discount_percent,
    Promo.hold_seconds,
    Promo.quota,
    Promo.taken,
    Promo.max_per_user,
    Promo.enforce_audience,
    Promo.admission_mode,
    Promo.admit_above,
    Promo.deny_below,
    Promo.created_at,
    Promo.updated_at,
    StoreProduct.base_price,
    StoreProduct.on_hand,
    StoreProduct.held,
    StoreProduct.store_id,
    StoreProduct.product_id,
    Store.owner_id,
    func.ST_Y(func.geometry(Store.geom)).label("latitude"),
    func.ST_X(func.geometry(Store.geom)).label("longitude"),
    Store.name.label("store_name"),
    Product.name.label("product_name"),
)


def promos() -> Select[Any]:
    """Promos with their stock row, store and product, as the columns of a PromoRow."""
    return (
        select(*PROMO_COLUMNS)
        .join(StoreProduct, StoreProduct.id == Promo.store_product_id)
        .join(Store, Store.id == StoreProduct.store_id)
        .join(Product, Product.id == StoreProduct.product_id)
    )


BY_ID = promos().where(Promo.id == any_(bindparam("ids", type_=ARRAY(BigInteger))))


async def promos_by_id(reader: Reader, ids: Sequence[int]) -> dict[int, PromoRow]:
    rows = await reader.execute(BY_ID, {"ids": ids})
    return {row.id: PromoRow(*row) for row in rows}


@dataclass(frozen=True, slots=True)
class PromoFilter:
    """`owner_id`: of this person's stores alone. From `starts_after` on, until before
    `starts_before`. None: whatever."""

    owner_id: UUID | None = None
    store_id: int | None = None
    status: str | None = None
    starts_after: datetime | None = None
    starts_before: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        asked: list[tuple[Any, Operator, Any]] = [
            (Store.owner_id, eq, self.owner_id),
            (Store.id, eq, self.store_id),
            (Promo.status, eq, self.status),
            (Promo.starts_at, ge, self.starts_after),
            (Promo.starts_at, lt, self.starts_before),
        ]
        return [compare(column, value) for column, compare, value in asked if value is not None]


async def promos_page(
    reader: Reader, wanted: PromoFilter, after: tuple[datetime, int] | None, limit: int
) -> list[PromoRow]:
    """Those that start last come first."""
    statement = promos().where(*wanted.conditions())
    if after is not None:
        statement = statement.where(tuple_(Promo.starts_at, Promo.id) < tuple_(*after))
    newest_first = statement.order_by(Promo.starts_at.desc(), Promo.id.desc()).limit(limit)
    return [PromoRow(*row) for row in await reader.execute(newest_first)]


async def count_promos(reader: Reader, wanted: PromoFilter) -> int:
    statement = promos().with_only_columns(func.count()).where(*wanted.conditions())
    count: int = (await reader.execute(statement)).scalar_one()
    return count


async def waitlist_lengths(reader: Reader, promo_ids: Sequence[int]) -> dict[int, int]:
    """People who wait and were not offered anything yet; a promo without any is left out."""
    rows = await reader.execute(
        select(WaitlistEntry.promo_id, func.count())
        .where(
            WaitlistEntry.promo_id.in_(promo_ids), WaitlistEntry.status == WaitlistStatus.WAITING
        )
        .group_by(WaitlistEntry.promo_id)
    )
    return {row[0]: row[1] for row in rows}


@dataclass(frozen=True, slots=True)
class PromoStatsRow:
    """Notices, holds by how they stand, and people refused by the model."""

    notified: int = 0
    held: int = 0
    confirmed: int = 0
    expired: int = 0
    cancelled: int = 0
    denied: int = 0


async def promo_stats(reader: Reader, promo_ids: Sequence[int]) -> dict[int, PromoStatsRow]:
    """By promo; one where nothing has happened is left out."""
    notices = _tally(Notification.promo_id, literal("notified"), promo_ids).where(
        Notification.kind == NotificationKind.PROMO
    )
    holds = _tally(Reservation.promo_id, func.lower(true_status()), promo_ids)
    denials = _tally(Prediction.promo_id, literal("denied"), promo_ids).where(
        Prediction.decision == AdmissionDecision.DENY
    )
    found: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for promo_id, what, count in await reader.execute(union_all(notices, holds, denials)):
        found[promo_id][what] = count
    return {promo_id: PromoStatsRow(**counts) for promo_id, counts in found.items()}


def _tally(
    promo: InstrumentedAttribute[Any], what: ColumnElement[str], promo_ids: Sequence[int]
) -> Select[Any]:
    named = what.label("what")
    return select(promo, named, func.count()).where(promo.in_(promo_ids)).group_by(promo, named)
