"""How people have behaved so far, as conditions over `users` and `profiles`.

The statement that uses them has both tables in it; `profiles` may be outer-joined.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Text, func, literal_column, or_, select

from db.models import Profile, Reservation, User
from db.models.holds import ReservationStatus
from db.session import Reader

Moment = datetime | ColumnElement[datetime]

NEW_ACCOUNT = timedelta(days=30)
FREQUENT_WINDOW = timedelta(days=90)
FREQUENT_PURCHASES = 3

CONFIRMED = literal_column(f"'{ReservationStatus.CONFIRMED}'", Text)
"""Written out: with a parameter, a prepared plan could not use the index of confirmed ones."""


def is_new(now: Moment) -> ColumnElement[bool]:
    """An account of at most 30 days, or without a confirmed purchase; an ADMIN's word counts more.

    Never NULL.
    """
    bought = (
        select(Reservation.id)
        .where(
            Reservation.user_id == User.id,
            Reservation.status == CONFIRMED,
        )
        .correlate(User)
        .exists()
    )
    return func.coalesce(Profile.is_new_user, or_(User.created_at >= now - NEW_ACCOUNT, ~bought))


def is_frequent(now: Moment) -> ColumnElement[bool]:
    """At least 3 confirmed purchases in the last 90 days; an ADMIN's word counts more.

    Never NULL.
    """
    # Whether there is a third one: nobody's whole history has to be counted.
    third = (
        select(Reservation.id)
        .where(
            Reservation.user_id == User.id,
            Reservation.status == CONFIRMED,
            Reservation.closed_at >= now - FREQUENT_WINDOW,
        )
        .order_by(Reservation.closed_at)
        .offset(FREQUENT_PURCHASES - 1)
        .limit(1)
        .correlate(User)
        .exists()
    )
    return func.coalesce(Profile.is_frequent, third)


@dataclass(frozen=True, slots=True)
class SegmentsRow:
    is_new: bool
    is_frequent: bool


async def segments_of_users(
    reader: Reader, user_ids: Sequence[UUID], *, now: datetime
) -> dict[UUID, SegmentsRow]:
    rows = await reader.execute(
        select(User.id, is_new(now), is_frequent(now))
        .outerjoin(Profile, Profile.user_id == User.id)
        .where(User.id.in_(user_ids))
    )
    return {row[0]: SegmentsRow(row[1], row[2]) for row in rows}
