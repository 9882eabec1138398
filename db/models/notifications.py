"""Notices to people. The row is the notice, written once; sending it may happen more often."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.metadata import Table, one_of


class NotificationKind(StrEnum):
    PROMO = "PROMO"
    WAITLIST_OFFER = "WAITLIST_OFFER"
    SHORTAGE_ALERT = "SHORTAGE_ALERT"
    LOW_BALANCE = "LOW_BALANCE"
    PREDICTION_READY = "PREDICTION_READY"


class Notification(Table):
    """`id` is the cursor that clients replay from. `sent_date` is the person's local day.

    Whoever writes one first writes the person's `NotificationDay`, which locks it until the
    commit: one person's ids therefore become visible in their order, and "after id" misses none.
    """

    __tablename__ = "notifications"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str]
    title: Mapped[str]
    body: Mapped[str]
    promo_id: Mapped[int | None] = mapped_column(ForeignKey("flash_promos.id"))
    reservation_id: Mapped[int | None] = mapped_column(ForeignKey("reservations.id"), index=True)
    distance_m: Mapped[float | None]
    sent_date: Mapped[date]
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("kind", NotificationKind),
        CheckConstraint("kind <> 'PROMO' OR promo_id IS NOT NULL", name="promo"),
        CheckConstraint(
            "kind <> 'WAITLIST_OFFER' OR reservation_id IS NOT NULL", name="waitlist_offer"
        ),
        Index(
            "one_promo_notice_per_user_and_day",
            "promo_id",
            "user_id",
            "sent_date",
            unique=True,
            postgresql_where=text("kind = 'PROMO'"),
        ),
        Index(None, "user_id", "id"),
        Index(
            "notifications_unread_idx", "user_id", "id", postgresql_where=text("read_at IS NULL")
        ),
        Index(None, "promo_id"),
    )


class NotificationDay(Table):
    """How many notices that count against the cap a person had on their latest day with any.

    One row a person: yesterday's count has no use, and the row is the lock that puts one person's
    notices in order.
    """

    __tablename__ = "notification_days"

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[date]
    sent: Mapped[int]
    cap: Mapped[int]

    __table_args__ = (CheckConstraint("sent >= 0 AND sent <= cap", name="daily_cap"),)
