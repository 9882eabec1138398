"""Waiting for a unit to be freed: the head of the list gets a hold of its own."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.metadata import Table, one_of


class WaitlistStatus(StrEnum):
    WAITING = "WAITING"
    OFFERED = "OFFERED"
    CONVERTED = "CONVERTED"
    MISSED = "MISSED"
    LEFT = "LEFT"


class WaitlistEntry(Table):
    """Served by `priority` (higher first), then by time of joining."""

    __tablename__ = "waitlist_entries"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    promo_id: Mapped[int] = mapped_column(ForeignKey("flash_promos.id"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    quantity: Mapped[int]
    status: Mapped[str] = mapped_column(server_default=WaitlistStatus.WAITING)
    priority: Mapped[int] = mapped_column(server_default=text("0"))
    joined_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    offer_reservation_id: Mapped[int | None] = mapped_column(
        ForeignKey("reservations.id"), unique=True
    )
    score_id: Mapped[UUID | None] = mapped_column(ForeignKey("predictions.id"), index=True)

    __table_args__ = (
        one_of("status", WaitlistStatus),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("status <> 'OFFERED' OR offer_reservation_id IS NOT NULL", name="offer"),
        Index(
            "one_place_per_user_and_promo",
            "promo_id",
            "user_id",
            unique=True,
            postgresql_where=text("status IN ('WAITING', 'OFFERED')"),
        ),
        Index(
            "waitlist_entries_queue_idx",
            "promo_id",
            text("priority DESC"),
            "joined_at",
            "id",
            postgresql_where=text("status = 'WAITING'"),
        ),
        Index(None, "promo_id"),
    )
