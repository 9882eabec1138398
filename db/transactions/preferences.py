"""What people decide about their notices: which, when and how many; and what they have read."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import InputProblem, InputRejected, Path
from db.models import Notification, NotificationDay, Profile
from db.models.accounts import LARGEST_DAILY_CAP
from db.queries.notification_rounds import today
from db.queries.notifications import (
    NotificationRow,
    PreferencesRow,
    notifications_by_id,
    preferences_by_user,
)
from db.transactions.notifications import take_turns

MOST_IDS = 100
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
LARGEST_THRESHOLD = Decimal("999999999999.99")
CENT_DIGITS = 2

PATHS: dict[str, Path] = {
    "promos_enabled": ("input", "promosEnabled"),
    "shortages_enabled": ("input", "shortagesEnabled"),
    "daily_cap": ("input", "dailyCap"),
    "quiet_from": ("input", "quietFrom"),
    "quiet_to": ("input", "quietTo"),
    "low_balance_threshold": ("input", "lowBalanceThreshold"),
}
NOT_NULL = ("promos_enabled", "shortages_enabled", "daily_cap")


async def update_preferences(
    session: AsyncSession, user_id: UUID, changes: Mapping[str, Any], now: datetime
) -> PreferencesRow:
    """Changes what is given, by the names of PreferencesRow; quiet hours as 'HH:MM'.

    Raises InputRejected with everything that is wrong; then nothing was changed.
    """
    problems = [*_cap_problems(changes), *_threshold_problems(changes)]
    problems += [
        InputProblem("REQUIRED", PATHS[name], f"{PATHS[name][-1]} may be left out, but not null")
        for name in NOT_NULL
        if name in changes and changes[name] is None
    ]
    person = select(Profile.user_id).where(Profile.user_id == user_id)
    await take_turns(session, person.add_columns(today(now), literal(0), Profile.daily_cap))
    present = (await preferences_by_user(session, [user_id], now=now))[user_id]
    values = dict(changes)
    if "quiet_from" in changes or "quiet_to" in changes:
        stored = (present.quiet_from, present.quiet_to)
        try:
            values["quiet_from"], values["quiet_to"] = quiet_hours(stored, changes)
        except InputRejected as refused:
            problems += refused.problems
    if problems:
        raise InputRejected(problems)
    await _store(session, user_id, values, now)
    return (await preferences_by_user(session, [user_id], now=now))[user_id]


async def _store(
    session: AsyncSession, user_id: UUID, values: Mapping[str, Any], now: datetime
) -> None:
    await session.execute(
        update(Profile).where(Profile.user_id == user_id).values(**values, updated_at=now)
    )
    if "daily_cap" in values:
        # What was sent already stays sent: the day keeps a cap that its count fits under.
        cap = func.greatest(values["daily_cap"], NotificationDay.sent)
        await session.execute(
            update(NotificationDay).where(NotificationDay.user_id == user_id).values(cap=cap)
        )


def quiet_hours(
    stored: tuple[time | None, time | None], changes: Mapping[str, str | None]
) -> tuple[time | None, time | None]:
    """Quiet hours after the change: both or neither. One null clears both.

    Raises InputRejected.
    """
    given = {name: changes[name] for name in ("quiet_from", "quiet_to") if name in changes}
    if all(value is None for value in given.values()):
        return None, None
    begin, end = (
        _clock(name, given[name]) if name in given else kept
        for name, kept in zip(("quiet_from", "quiet_to"), stored, strict=True)
    )
    for name, value in (("quiet_from", begin), ("quiet_to", end)):
        if value is None:
            message = "quietFrom and quietTo go together: give both, or null to clear them"
            raise InputRejected.one("REQUIRED", PATHS[name], message)
    if begin == end:
        message = "quietTo must differ from quietFrom"
        raise InputRejected.one("INVALID", PATHS["quiet_to"], message)
    return begin, end


def _clock(name: str, value: str | None) -> time | None:
    if value is None:
        return None
    if not CLOCK.fullmatch(value):
        message = f"{PATHS[name][-1]} must be a local time HH:MM, such as 22:30"
        raise InputRejected.one("INVALID", PATHS[name], message)
    return time.fromisoformat(value)


def _cap_problems(changes: Mapping[str, Any]) -> list[InputProblem]:
    cap = changes.get("daily_cap")
    if cap is None or 0 <= cap <= LARGEST_DAILY_CAP:
        return []
    message = f"dailyCap must be between 0 and {LARGEST_DAILY_CAP}, got {cap}"
    return [InputProblem("OUT_OF_RANGE", PATHS["daily_cap"], message)]


def _threshold_problems(changes: Mapping[str, Any]) -> list[InputProblem]:
    threshold: Decimal | None = changes.get("low_balance_threshold")
    if threshold is None:
        return []
    path = PATHS["low_balance_threshold"]
    if not 0 <= threshold <= LARGEST_THRESHOLD:
        message = f"lowBalanceThreshold must be between 0 and {LARGEST_THRESHOLD}, got {threshold}"
        return [InputProblem("OUT_OF_RANGE", path, message)]
    if threshold != round(threshold, CENT_DIGITS):
        message = f"lowBalanceThreshold may have {CENT_DIGITS} fraction digits, got {threshold}"
        return [InputProblem("INVALID", path, message)]
    return []


async def mark_read(
    session: AsyncSession, user_id: UUID, ids: Sequence[int], now: datetime
) -> list[NotificationRow]:
    """The notices as read, in the order asked for; what was read before keeps its time.

    Raises InputRejected: too many (OUT_OF_RANGE), or NOT_FOUND at each that is not the person's.
    """
    if len(ids) > MOST_IDS:
        message = f"ids may have {MOST_IDS} entries at most, got {len(ids)}"
        raise InputRejected.one("OUT_OF_RANGE", ("ids",), message)
    locked = await session.execute(
        select(Notification.id)
        .where(Notification.id.in_(ids), Notification.user_id == user_id)
        .order_by(Notification.id)
        .with_for_update(key_share=True)
    )
    own = set(locked.scalars())
    problems = [
        InputProblem("NOT_FOUND", ("ids", str(place)), f"ids: there is no notification {id_}")
        for place, id_ in enumerate(ids)
        if id_ not in own
    ]
    if problems:
        raise InputRejected(problems)
    await session.execute(
        update(Notification)
        .where(Notification.id.in_(own), Notification.read_at.is_(None))
        .values(read_at=now)
    )
    rows = await notifications_by_id(session, sorted(own))
    return [rows[id_] for id_ in dict.fromkeys(ids)]
