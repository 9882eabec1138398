"""Reads over waitlists."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, case, func, select, tuple_
from sqlalchemy.orm import aliased

from db.models import WaitlistEntry
from db.models.waitlists import WaitlistStatus
from db.session import Reader


@dataclass(frozen=True, slots=True)
class EntryRow:
    """`position` counts from 1, and is None for who waits no longer."""

    id: int
    promo_id: int
    user_id: UUID
    quantity: int
    status: str
    joined_at: datetime
    offer_reservation_id: int | None
    position: int | None


def _entries() -> Select[Any]:
    before = aliased(WaitlistEntry)
    served_first = (
        select(func.count())
        .where(
            before.promo_id == WaitlistEntry.promo_id,
            before.status == WaitlistStatus.WAITING,
            tuple_(-before.priority, before.joined_at, before.id)
            <= tuple_(-WaitlistEntry.priority, WaitlistEntry.joined_at, WaitlistEntry.id),
        )
        .correlate(WaitlistEntry)
        .scalar_subquery()
    )
    waits = WaitlistEntry.status == WaitlistStatus.WAITING
    return select(
        WaitlistEntry.id,
        WaitlistEntry.promo_id,
        WaitlistEntry.user_id,
        WaitlistEntry.quantity,
        WaitlistEntry.status,
        WaitlistEntry.joined_at,
        WaitlistEntry.offer_reservation_id,
        case((waits, served_first)).label("position"),
    )


async def entries_by_id(reader: Reader, ids: Sequence[int]) -> dict[int, EntryRow]:
    rows = await reader.execute(_entries().where(WaitlistEntry.id.in_(ids)))
    return {row.id: EntryRow(*row) for row in rows}


async def latest_entry(reader: Reader, user_id: UUID, promo_id: int) -> EntryRow | None:
    """The person's place on a promo's list, or what became of it."""
    newest = (
        _entries()
        .where(WaitlistEntry.user_id == user_id, WaitlistEntry.promo_id == promo_id)
        .order_by(WaitlistEntry.id.desc())
        .limit(1)
    )
    row = (await reader.execute(newest)).one_or_none()
    return None if row is None else EntryRow(*row)


async def entries_of_users(reader: Reader, user_ids: Sequence[UUID]) -> dict[UUID, list[EntryRow]]:
    """Where each person waits or has an offer, oldest first."""
    open_ones = (WaitlistStatus.WAITING, WaitlistStatus.OFFERED)
    rows = await reader.execute(
        _entries()
        .where(WaitlistEntry.user_id.in_(user_ids), WaitlistEntry.status.in_(open_ones))
        .order_by(WaitlistEntry.joined_at, WaitlistEntry.id)
    )
    found: dict[UUID, list[EntryRow]] = {user_id: [] for user_id in user_ids}
    for row in rows:
        found[row.user_id].append(EntryRow(*row))
    return found
