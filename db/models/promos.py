"""Flash promos: a part of a store's stock, offered for a while to people near by."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from geoalchemy2 import Geography
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.metadata import Table, one_of


class PromoStatus(StrEnum):
    SCHEDULED = "SCHEDULED"
    ACTIVE = "ACTIVE"
    ENDED = "ENDED"
    CANCELLED = "CANCELLED"


class Segment(StrEnum):
    NEW = "NEW"
    FREQUENT = "FREQUENT"


class AdmissionMode(StrEnum):
    OPEN = "OPEN"
    SCORED = "SCORED"


SMALLEST_RADIUS_METERS = 50
"""Who sets radii and counts audiences must not find out where a person stands."""
LARGEST_RADIUS_METERS = 50_000
LONGEST_HOLD_SECONDS = 86_400


class Promo(Table):
    """`taken` counts units held or sold; only the triggers on `reservations` move it.

    `geom` is the store's point, kept in step by triggers: the index that finds the nearest active
    promos must hold point and status in one place.
    """

    __tablename__ = "flash_promos"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    store_product_id: Mapped[int] = mapped_column(ForeignKey("store_products.id"), index=True)
    geom: Mapped[Any] = mapped_column(
        Geography("POINT", srid=4326, spatial_index=False), nullable=False
    )
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(server_default=PromoStatus.SCHEDULED)
    segments: Mapped[list[str]] = mapped_column(
        ARRAY(Text), server_default=text("'{NEW,FREQUENT}'")
    )
    radius_m: Mapped[float] = mapped_column(server_default=text("2000"))
    discount_percent: Mapped[Decimal] = mapped_column(Numeric(5, 2), server_default=text("0"))
    hold_seconds: Mapped[int] = mapped_column(server_default=text("60"))
    quota: Mapped[int | None]
    taken: Mapped[int] = mapped_column(server_default=text("0"))
    max_per_user: Mapped[int | None]
    enforce_audience: Mapped[bool] = mapped_column(server_default=text("false"))
    admission_mode: Mapped[str] = mapped_column(server_default=AdmissionMode.OPEN)
    admit_above: Mapped[float] = mapped_column(server_default=text("0.5"))
    deny_below: Mapped[float] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        one_of("status", PromoStatus),
        one_of("admission_mode", AdmissionMode),
        # lets a hold refer to (promo, stock row) together: never another promo's stock
        UniqueConstraint("id", "store_product_id"),
        CheckConstraint("starts_at < ends_at", name="schedule"),
        # Python has no infinite instant: one such row would be unreadable for everybody
        CheckConstraint("isfinite(starts_at) AND isfinite(ends_at)", name="finite"),
        CheckConstraint("segments <@ ARRAY['NEW', 'FREQUENT']", name="segments"),
        CheckConstraint(
            f"radius_m >= {SMALLEST_RADIUS_METERS} AND radius_m <= {LARGEST_RADIUS_METERS}",
            name="radius_m",
        ),
        CheckConstraint("discount_percent BETWEEN 0 AND 100", name="discount_percent"),
        CheckConstraint(f"hold_seconds BETWEEN 1 AND {LONGEST_HOLD_SECONDS}", name="hold_seconds"),
        CheckConstraint("quota >= 0", name="quota_sign"),
        CheckConstraint("taken >= 0 AND taken <= quota", name="promo_quota"),
        CheckConstraint("max_per_user > 0", name="max_per_user"),
        CheckConstraint(
            "0 <= deny_below AND deny_below <= admit_above AND admit_above <= 1", name="admission"
        ),
        Index(
            "flash_promos_active_near_idx",
            "geom",
            postgresql_using="gist",
            postgresql_where=text("status = 'ACTIVE'"),
        ),
        Index("flash_promos_due_idx", "starts_at", postgresql_where=text("status = 'SCHEDULED'")),
        Index("flash_promos_over_idx", "ends_at", postgresql_where=text("status = 'ACTIVE'")),
    )


class PromoUserCount(Table):
    """Units that a person holds or bought of a promo: the limit per person, over all orders."""

    __tablename__ = "promo_user_counts"

    promo_id: Mapped[int] = mapped_column(
        ForeignKey("flash_promos.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    taken: Mapped[int]
    max_per_user: Mapped[int | None]

    __table_args__ = (
        CheckConstraint("taken >= 0 AND taken <= max_per_user", name="promo_limit_per_user"),
    )
