"""People: who they are (users) and what rules over them need to know (profiles)."""

from datetime import datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from geoalchemy2 import Geography
from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.metadata import Table, one_of

LOCAL_ISSUER = "local"
LARGEST_DAILY_CAP = 100


class Role(StrEnum):
    USER = "USER"
    MERCHANT = "MERCHANT"
    ADMIN = "ADMIN"


class User(Table):
    """`id` is the `sub` of the person's tokens.

    `issuer` says who vouches for them: 'local' (a password here) or the provider's `iss`. A
    provider can therefore never speak for a local account by choosing its id. Addresses are
    unique among local accounts only: those log in by address, and an address that somebody
    registered here must not keep its owner from coming in through their provider.
    """

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    issuer: Mapped[str] = mapped_column(server_default=LOCAL_ISSUER)
    email: Mapped[str | None]
    username: Mapped[str | None]
    password_hash: Mapped[str | None]
    role: Mapped[str] = mapped_column(server_default=Role.USER)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (one_of("role", Role),)


Index(
    "users_email_key",
    func.lower(User.email),
    unique=True,
    postgresql_where=User.issuer == LOCAL_ISSUER,
)
Index("users_username_key", func.lower(User.username), unique=True)


class Profile(Table):
    """`is_new_user` and `is_frequent` are overrides; NULL means: derive them.

    Quiet hours are the person's local time and may span midnight.
    """

    __tablename__ = "profiles"

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    geom: Mapped[Any | None] = mapped_column(
        Geography("POINT", srid=4326, spatial_index=False), nullable=True
    )
    time_zone: Mapped[str]
    is_new_user: Mapped[bool | None]
    is_frequent: Mapped[bool | None]
    promos_enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    shortages_enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    daily_cap: Mapped[int] = mapped_column(server_default=text("3"))
    quiet_from: Mapped[time | None]
    quiet_to: Mapped[time | None]
    low_balance_threshold: Mapped[Decimal | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint(f"daily_cap BETWEEN 0 AND {LARGEST_DAILY_CAP}", name="daily_cap"),
        CheckConstraint("(quiet_from IS NULL) = (quiet_to IS NULL)", name="quiet_hours"),
        CheckConstraint("low_balance_threshold >= 0", name="low_balance_threshold"),
        Index("profiles_geom_idx", "geom", postgresql_using="gist"),
    )
