"""Reads over notices: inboxes, what a stream has missed, preferences, the dry run of a round."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Uuid,
    column,
    func,
    literal,
    select,
    true,
)

from db.models import Notification, NotificationDay, Profile
from db.queries.notification_rounds import sent_today, verdicts
from db.session import Reader


@dataclass(frozen=True, slots=True)
class NotificationRow:
    id: int
    user_id: UUID
    kind: str
    title: str
    body: str
    promo_id: int | None
    reservation_id: int | None
    distance_m: float | None
    sent_date: date
    created_at: datetime
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class PreferencesRow:
    """Quiet hours are the person's local time; both are set or neither is."""

    promos_enabled: bool
    shortages_enabled: bool
    daily_cap: int
    quiet_from: time | None
    quiet_to: time | None
    low_balance_threshold: Decimal | None
    sent_today: int


@dataclass(frozen=True, slots=True)
class AudienceRow:
    """People whom a promo reaches by place and segment (`matched`), and what becomes of each.

    Everybody is counted once more, at the first of these that applies: told of it on this day of
    theirs; opted out; over the cap; in quiet hours (told later, if the promo still runs then); over
    the cap, because promos nearer to them take what room is left; to notify.
    """

    matched: int = 0
    to_notify: int = 0
    already_notified_today: int = 0
    over_daily_cap: int = 0
    in_quiet_hours: int = 0
    opted_out: int = 0


NOTIFICATION_COLUMNS = (
    Notification.id,
    Notification.user_id,
    Notification.kind,
    Notification.title,
    Notification.body,
    Notification.promo_id,
    Notification.reservation_id,
    Notification.distance_m,
    Notification.sent_date,
    Notification.created_at,
    Notification.read_at,
)


async def audience(
    reader: Reader, promo_ids: Sequence[int], now: datetime
) -> dict[int, AudienceRow]:
    """The next round, without telling anybody: an entry for every promo asked for.

    A promo that is still to begin is judged as if it ran now; one that is over, was cancelled or
    has nothing left reaches nobody.
    """
    counts: dict[int, dict[str, int]] = {promo_id: {} for promo_id in promo_ids}
    for promo_id, verdict, people in await reader.execute(verdicts(promo_ids, now)):
        counts[promo_id][verdict] = people
    return {
        promo_id: AudienceRow(matched=sum(found.values()), **found)
        for promo_id, found in counts.items()
    }


def _chosen(unread_only: bool, kinds: tuple[str, ...] | None) -> list[ColumnElement[bool]]:
    unread = [Notification.read_at.is_(None)] if unread_only else []
    return [*unread, *([] if kinds is None else [Notification.kind.in_(kinds)])]


def _by_user(rows: Iterable[Any]) -> dict[UUID, list[NotificationRow]]:
    found: dict[UUID, list[NotificationRow]] = {}
    for row in rows:
        found.setdefault(row.user_id, []).append(NotificationRow(*row))
    return found


async def inbox_pages(
    reader: Reader,
    user_ids: Sequence[UUID],
    *,
    limit: int,
    before_id: int | None,
    unread_only: bool,
    kinds: tuple[str, ...] | None,
) -> dict[UUID, list[NotificationRow]]:
    """By person, newest first."""
    users = func.unnest(literal(list(user_ids), ARRAY(Uuid)))
    wanted = users.table_valued(column("user_id", Uuid), name="wanted").render_derived()
    page = select(*NOTIFICATION_COLUMNS).where(
        Notification.user_id == wanted.c.user_id, *_chosen(unread_only, kinds)
    )
    if before_id is not None:
        page = page.where(Notification.id < before_id)
    rows = page.order_by(Notification.id.desc()).limit(limit).lateral("page")
    statement = select(*rows.c).select_from(wanted).join(rows, true())
    return _by_user(await reader.execute(statement))


async def inbox_counts(
    reader: Reader,
    user_ids: Sequence[UUID],
    *,
    unread_only: bool,
    kinds: tuple[str, ...] | None,
) -> dict[UUID, int]:
    rows = await reader.execute(
        select(Notification.user_id, func.count())
        .where(Notification.user_id.in_(user_ids), *_chosen(unread_only, kinds))
        .group_by(Notification.user_id)
    )
    return {row[0]: row[1] for row in rows}


async def notifications_by_id(reader: Reader, ids: Sequence[int]) -> dict[int, NotificationRow]:
    rows = await reader.execute(select(*NOTIFICATION_COLUMNS).where(Notification.id.in_(ids)))
    return {row.id: NotificationRow(*row) for row in rows}


async def latest_id(reader: Reader, user_id: UUID) -> int:
    """Of the person's newest notice; 0 if there is none."""
    newest = select(func.coalesce(func.max(Notification.id), 0))
    found: int = (await reader.execute(newest.where(Notification.user_id == user_id))).scalar_one()
    return found


async def missed(
    reader: Reader, user_id: UUID, *, after_id: int, kinds: tuple[str, ...] | None, limit: int
) -> list[NotificationRow]:
    """What came after this id, oldest first."""
    rows = await reader.execute(
        select(*NOTIFICATION_COLUMNS)
        .where(
            Notification.user_id == user_id,
            Notification.id > after_id,
            *_chosen(unread_only=False, kinds=kinds),
        )
        .order_by(Notification.id)
        .limit(limit)
    )
    return [NotificationRow(*row) for row in rows]


async def newer_than(
    reader: Reader, seen: Mapping[UUID, int], limit: int
) -> dict[UUID, list[NotificationRow]]:
    """By person, what came after the id they have seen: oldest first, `limit` each at most."""
    users = literal(list(seen), ARRAY(Uuid))
    last = literal(list(seen.values()), ARRAY(BigInteger))
    listening = (
        func.unnest(users, last)
        .table_valued(column("user_id", Uuid), column("last_id", BigInteger), name="listening")
        .render_derived()
    )
    rows = (
        select(*NOTIFICATION_COLUMNS)
        .where(Notification.user_id == listening.c.user_id, Notification.id > listening.c.last_id)
        .order_by(Notification.id)
        .limit(limit)
        .lateral("newer")
    )
    statement = select(*rows.c).select_from(listening).join(rows, true())
    return _by_user(await reader.execute(statement))


async def preferences_by_user(
    reader: Reader, user_ids: Sequence[UUID], *, now: datetime
) -> dict[UUID, PreferencesRow]:
    rows = await reader.execute(
        select(
            Profile.user_id,
            Profile.promos_enabled,
            Profile.shortages_enabled,
            Profile.daily_cap,
            Profile.quiet_from,
            Profile.quiet_to,
            Profile.low_balance_threshold,
            func.coalesce(sent_today(now), 0),
        )
        .outerjoin(NotificationDay, NotificationDay.user_id == Profile.user_id)
        .where(Profile.user_id.in_(user_ids))
    )
    return {row.user_id: PreferencesRow(*row[1:]) for row in rows}
