"""Notices: the one way a row comes to be, and what people decide about theirs.

Whoever writes a notice first takes the person's turn: their row of `notification_days`, which
stays locked until the commit. One person's ids therefore become visible in their order, and who
reads "after this id" misses none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    case,
    func,
    literal,
    literal_column,
    null,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from db.models import Notification, NotificationDay, Profile
from db.models.notifications import NotificationKind
from db.queries.notification_rounds import in_quiet_hours, room, today

NOTIFY_PROMO_ACTOR = "notify_promo"
"""The job of one promo that has gone live: {"promo_id": int}."""

PASSING = frozenset({NotificationKind.WAITLIST_OFFER, NotificationKind.PREDICTION_READY})
"""A hold that runs out in a minute, and work that was asked for: past cap, quiet hours, opt-out."""


class Written(NamedTuple):
    """A notice that was inserted, as `db.events.publish_notifications` takes them. Rounds make too
    many for anything slower."""

    user_id: UUID
    id: int


@dataclass(frozen=True, slots=True)
class Turns:
    """A statement of `turns_of` that was built once, and what its parameters stand for."""

    statement: ReturningInsert[UUID]
    values: Mapping[str, Any] = field(default_factory=dict)


async def notify(
    session: AsyncSession,
    *,
    kind: NotificationKind,
    user_id: UUID,
    title: str,
    body: str,
    now: datetime,
    promo_id: int | None = None,
    reservation_id: int | None = None,
) -> int | None:
    """One notice, in the transaction that causes it; its id, or None if it may not be sent now.

    The person's turn is locked until the commit: take it after all other locks, and several
    people's in the order of their ids. After the commit: `db.events.publish_notifications`.
    """
    person = select(Profile.user_id).where(Profile.user_id == user_id)
    await take_turns(session, person.add_columns(today(now), literal(0), Profile.daily_cap))
    allowed = true() if kind in PASSING else _may_be_told(kind, now)
    notices = (
        select(
            Profile.user_id,
            literal(kind.value),
            literal(title),
            literal(body),
            literal(promo_id, Notification.promo_id.type),
            literal(reservation_id, Notification.reservation_id.type),
            null(),
            today(now),
            literal(now),
        )
        .outerjoin(NotificationDay, NotificationDay.user_id == Profile.user_id)
        .where(Profile.user_id == user_id, allowed)
    )
    written = await write(session, notices, counted=kind not in PASSING)
    return written[0].id if written else None


def _may_be_told(kind: NotificationKind, now: datetime) -> ColumnElement[bool]:
    wanted = {
        NotificationKind.PROMO: Profile.promos_enabled,
        NotificationKind.SHORTAGE_ALERT: Profile.shortages_enabled,
    }.get(kind, true())
    return and_(wanted, ~in_quiet_hours(now), room(now) > 0)


async def take_turns(session: AsyncSession, people: Select[Any] | Turns) -> list[UUID]:
    """Locks the days of these people until the commit, and begins a new one where it is due.
    Returns whose it locked; `people` as in `turns_of`."""
    turns = people if isinstance(people, Turns) else Turns(turns_of(people))
    connection = await session.connection()
    return list((await connection.execute(turns.statement, turns.values)).scalars())


def turns_of(people: Select[Any]) -> ReturningInsert[UUID]:
    """`people`: (user_id, day, sent, cap); `sent` is counted at once, 0 or 1. Whose day has no room
    for it is left out. They are locked in the order of their ids: two batches can wait for each
    other, but not both at once.
    """
    day = NotificationDay
    turn = insert(_table(day)).from_select(
        ["user_id", "day", "sent", "cap"], people.order_by(literal_column("1"))
    )
    before = case((day.day < turn.excluded.day, 0), else_=day.sent)
    sent = before + turn.excluded.sent
    return turn.on_conflict_do_update(
        index_elements=[day.user_id],
        set_={
            "day": func.greatest(day.day, turn.excluded.day),
            "sent": sent,
            # A cap that was lowered during the day lies under what was sent already.
            "cap": func.greatest(turn.excluded.cap, sent),
        },
        where=sent <= func.greatest(turn.excluded.cap, before),
    ).returning(day.user_id)


async def write(session: AsyncSession, notices: Select[Any], *, counted: bool) -> list[Written]:
    """Inserts the notices of people whose turn was taken; those that are there already stay.

    `counted`: each raises its person's `sent`, and `daily_cap` refuses the statement if that
    passes the cap.
    """
    added = insertion_of(notices).cte("added")
    statement = select(added.c.user_id, added.c.id)
    if counted:
        count = (
            update(NotificationDay)
            .where(NotificationDay.user_id == added.c.user_id)
            .values(sent=NotificationDay.sent + 1)
            .cte("counted")
        )
        statement = statement.add_cte(count)
    return [Written(*row) for row in await session.execute(statement)]


def insertion_of(notices: Select[Any]) -> ReturningInsert[UUID, int]:
    """`notices`: (user_id, kind, title, body, promo_id, reservation_id, distance_m, sent_date,
    created_at). The unique index decides, and what is returned is what is to be sent.
    """
    columns = [
        "user_id", "kind", "title", "body", "promo_id", "reservation_id", "distance_m",
        "sent_date", "created_at",
    ]  # fmt: skip
    return (
        insert(_table(Notification))
        .from_select(columns, notices)
        .on_conflict_do_nothing()
        .returning(Notification.user_id, Notification.id)
    )


def _table(model: type[Any]) -> Table:
    """Its statements are plain ones: the unit of work has nothing to say in them."""
    table: Table = model.__table__
    return table
