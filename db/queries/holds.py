"""Reads over holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, case, func, select, tuple_

from db.models import Prediction, Reservation
from db.models.holds import ReservationStatus
from db.models.predictions import AdmissionDecision
from db.session import Reader


@dataclass(frozen=True, slots=True)
class HoldRow:
    """`status` as it is in truth: a hold past its time is EXPIRED, whether it was tidied or not."""

    id: int
    token: str
    promo_id: int
    store_product_id: int
    user_id: UUID
    quantity: int
    unit_price: Decimal
    status: str
    created_at: datetime
    expires_at: datetime
    closed_at: datetime | None
    admission: str


def true_status() -> Any:
    overdue = (Reservation.status == ReservationStatus.HELD) & (
        Reservation.expires_at <= func.clock_timestamp()
    )
    return case((overdue, ReservationStatus.EXPIRED), else_=Reservation.status)


HOLD_COLUMNS = (
    Reservation.id,
    Reservation.token,
    Reservation.promo_id,
    Reservation.store_product_id,
    Reservation.user_id,
    Reservation.quantity,
    Reservation.unit_price,
    true_status().label("status"),
    Reservation.created_at,
    Reservation.expires_at,
    case(
        (true_status() == ReservationStatus.EXPIRED, Reservation.expires_at),
        else_=Reservation.closed_at,
    ).label("closed_at"),
)


def _holds() -> Select[Any]:
    decision = func.coalesce(Prediction.decision, AdmissionDecision.ADMIT)
    return select(*HOLD_COLUMNS, decision.label("admission")).outerjoin(
        Prediction, Prediction.id == Reservation.score_id
    )


def hold_row(row: Row[*tuple[Any, ...]]) -> HoldRow:
    return HoldRow(*row)


async def hold_by_token(reader: Reader, token: str) -> HoldRow | None:
    row = (await reader.execute(_holds().where(Reservation.token == token))).one_or_none()
    return hold_row(row) if row else None


async def reservations_by_id(reader: Reader, ids: Sequence[int]) -> dict[int, HoldRow]:
    rows = await reader.execute(_holds().where(Reservation.id.in_(ids)))
    return {row.id: hold_row(row) for row in rows}


async def reservations_of_user(
    reader: Reader,
    user_id: UUID,
    *,
    status: str | None,
    after: tuple[datetime, int] | None,
    limit: int,
) -> list[HoldRow]:
    """Newest first."""
    statement = _holds().where(Reservation.user_id == user_id)
    if status is not None:
        statement = statement.where(true_status() == status)
    if after is not None:
        statement = statement.where(tuple_(Reservation.created_at, Reservation.id) < after)
    newest_first = statement.order_by(Reservation.created_at.desc(), Reservation.id.desc())
    return [hold_row(row) for row in await reader.execute(newest_first.limit(limit))]


async def count_reservations(reader: Reader, user_id: UUID, *, status: str | None) -> int:
    statement = select(func.count()).where(Reservation.user_id == user_id)
    if status is not None:
        statement = statement.where(true_status() == status)
    return (await reader.execute(statement)).scalar_one()


async def overdue_stock(reader: Reader, limit: int) -> list[int]:
    """Stock rows with holds that are past their time: what the sweep has to tidy."""
    rows = await reader.execute(
        select(Reservation.store_product_id)
        .where(
            Reservation.closed_at.is_(None),
            # as a subquery it is read once, and an index can look for what lies before it
            Reservation.expires_at <= select(func.clock_timestamp()).scalar_subquery(),
        )
        .distinct()
        .limit(limit)
    )
    return list(rows.scalars())
