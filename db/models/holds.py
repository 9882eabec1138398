"""Holds: units kept for one person for a minute, then bought, given back or expired."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.models.metadata import Table, one_of


class ReservationStatus(StrEnum):
    HELD = "HELD"
    CONFIRMED = "CONFIRMED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class Reservation(Table):
    """Triggers move the counters of stock, promo and person with every insert and change, refuse a
    hold outside the promo's schedule (HL010), a late confirmation (HL011), an early expiry (HL012),
    and any change of a closed one (HL003)."""

    __tablename__ = "reservations"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    promo_id: Mapped[int] = mapped_column(BigInteger)
    store_product_id: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    quantity: Mapped[int]
    unit_price: Mapped[Decimal]
    status: Mapped[str] = mapped_column(server_default=ReservationStatus.HELD)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    score_id: Mapped[UUID | None] = mapped_column(ForeignKey("predictions.id"), index=True)

    __table_args__ = (
        one_of("status", ReservationStatus),
        ForeignKeyConstraint(
            ["promo_id", "store_product_id"], ["flash_promos.id", "flash_promos.store_product_id"]
        ),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("unit_price >= 0", name="unit_price"),
        CheckConstraint("(status = 'HELD') = (closed_at IS NULL)", name="closed_at"),
        Index(
            "one_hold_per_user_and_promo",
            "promo_id",
            "user_id",
            unique=True,
            postgresql_where=text("status = 'HELD'"),
        ),
        # Open holds by time say "closed_at IS NULL", those by person "status = 'HELD'", which is
        # the same: an index that also fits the other question would be walked from end to end
        # by a plan that was made when it was short.
        Index("reservations_held_idx", "expires_at", postgresql_where=text("closed_at IS NULL")),
        Index(
            "reservations_held_by_stock_idx",
            "store_product_id",
            "expires_at",
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index(None, "promo_id", "store_product_id", "status"),
        Index(None, "user_id", text("created_at DESC"), text("id DESC")),
        # what segments are derived from: confirmed purchases of the last 90 days
        Index(
            "reservations_confirmed_idx",
            "user_id",
            "closed_at",
            postgresql_where=text("status = 'CONFIRMED'"),
        ),
    )
