"""The waitlist: who has a place, and what becomes of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import (
    AdmissionRefused,
    Ineligible,
    InputRejected,
    LimitPerUser,
    Path,
    PromoNotActive,
)
from db.events import hold_topic, stock_topic, waitlist_topic
from db.models import Prediction, Promo, PromoUserCount, Reservation, WaitlistEntry
from db.models.holds import ReservationStatus
from db.models.predictions import AdmissionDecision
from db.models.promos import AdmissionMode
from db.models.waitlists import WaitlistStatus
from db.queries.eligibility import eligibility_of_users
from db.transactions.offers import serve
from db.transactions.reserving import AUDIENCE_REASONS
from db.transactions.stock import LockedPromo, LockedStock, lock_promo, lock_stock

FIRST_BAND, SECOND_BAND = 1, 0
"""Priorities: who was admitted and came too late goes before those whom the model would rather have
wait, and those it has not seen."""
OPEN_STATUSES = (WaitlistStatus.WAITING, WaitlistStatus.OFFERED)
MOST_UNITS = 1_000
"""That one person may wait for: nobody is served past somebody who wants the impossible."""


async def join(
    session: AsyncSession,
    *,
    user_id: UUID,
    promo_id: int,
    quantity: int,
    now: datetime,
    score_id: UUID | None = None,
    field: Path = ("promoId",),
) -> tuple[int, set[str]]:
    """The id of the person's place, the one they have already or a new one at the end of its band.

    Where units are free and nobody is scored, they are offered at once. Where somebody is, the
    band is that of the person's decision, and of the band between before there is one.

    Raises InputRejected (NOT_FOUND, OUT_OF_RANGE, IN_USE for who holds units), PromoNotActive,
    LimitPerUser, Ineligible, AdmissionRefused (for who was denied).
    """
    at = (*field[:-1], "quantity")
    if not 1 <= quantity <= MOST_UNITS:
        message = f"quantity must be between 1 and {MOST_UNITS}, got {quantity}"
        raise InputRejected.one("OUT_OF_RANGE", at, message)
    stock = await lock_promo(session, promo_id)
    if stock is None:
        raise InputRejected.one("NOT_FOUND", field, "There is no such promo")
    promo = stock.promos[promo_id]
    if not promo.open_at(now):
        raise PromoNotActive(promo.status, field)
    if promo.quota is not None and quantity > promo.quota:
        message = f"quantity must be at most {promo.quota}, the units of the promo"
        raise InputRejected.one("OUT_OF_RANGE", at, message)
    if (place := await open_entry(session, user_id, promo_id)) is not None:
        return place, set()
    await _check_right(session, promo, user_id, quantity, field)
    await _check_audience(session, promo, user_id, now, field)
    priority = await _band(session, promo, user_id, field)
    entry_id = (
        await session.execute(
            insert(WaitlistEntry)
            .values(
                promo_id=promo_id,
                user_id=user_id,
                quantity=quantity,
                priority=priority,
                joined_at=now,
                score_id=score_id,
            )
            .returning(WaitlistEntry.id)
        )
    ).scalar_one()
    topics = {waitlist_topic(promo_id)}
    if promo.admission_mode == AdmissionMode.OPEN:
        topics |= await serve(session, stock, now)
    return entry_id, topics


async def open_entry(session: AsyncSession, user_id: UUID, promo_id: int) -> int | None:
    """The person's place on this list, if they wait or were offered units."""
    return (
        await session.execute(
            select(WaitlistEntry.id).where(
                WaitlistEntry.promo_id == promo_id,
                WaitlistEntry.user_id == user_id,
                WaitlistEntry.status.in_(OPEN_STATUSES),
            )
        )
    ).scalar_one_or_none()


async def _check_right(
    session: AsyncSession, promo: LockedPromo, user_id: UUID, quantity: int, field: Path
) -> None:
    held = await session.scalar(
        select(Reservation.id).where(
            Reservation.promo_id == promo.id,
            Reservation.user_id == user_id,
            Reservation.status == ReservationStatus.HELD,
        )
    )
    if held is not None:
        raise InputRejected.one("IN_USE", field, "You hold units of this promo already")
    taken = await session.scalar(
        select(PromoUserCount.taken).where(
            PromoUserCount.promo_id == promo.id, PromoUserCount.user_id == user_id
        )
    )
    if promo.max_per_user is not None and (taken or 0) + quantity > promo.max_per_user:
        raise LimitPerUser(promo.max_per_user, taken or 0, (*field[:-1], "quantity"))


async def _check_audience(
    session: AsyncSession, promo: LockedPromo, user_id: UUID, now: datetime, field: Path
) -> None:
    if not promo.enforce_audience:
        return
    found = await eligibility_of_users(session, [user_id], promo_id=promo.id, now=now)
    eligibility = found.get(user_id)
    reasons = eligibility.reasons if eligibility else ("NO_PROFILE",)
    if against := [reason for reason in reasons if reason in AUDIENCE_REASONS]:
        raise Ineligible(against, eligibility.distance_meters if eligibility else None, field)


async def _band(session: AsyncSession, promo: LockedPromo, user_id: UUID, field: Path) -> int:
    if promo.admission_mode == AdmissionMode.OPEN:
        return FIRST_BAND
    decision = await session.scalar(
        select(Prediction.decision)
        .where(Prediction.user_id == user_id, Prediction.promo_id == promo.id)
        .order_by(Prediction.created_at.desc(), Prediction.id.desc())
        .limit(1)
    )
    if decision == AdmissionDecision.DENY:
        raise AdmissionRefused(decision, None, field)
    return FIRST_BAND if decision == AdmissionDecision.ADMIT else SECOND_BAND


async def leave(
    session: AsyncSession, *, user_id: UUID, promo_id: int, now: datetime
) -> tuple[int, set[str]]:
    """Gives up the place; units that were offered go to the next in line. Repeatable.

    Raises InputRejected (NOT_FOUND) for somebody who never waited here.
    """
    stock_id = await session.scalar(select(Promo.store_product_id).where(Promo.id == promo_id))
    if stock_id is None:
        raise InputRejected.one("NOT_FOUND", ("promoId",), "There is no such promo")
    stock = await lock_stock(session, stock_id)
    entry = (
        await session.execute(
            select(WaitlistEntry.id, WaitlistEntry.status, WaitlistEntry.offer_reservation_id)
            .where(WaitlistEntry.promo_id == promo_id, WaitlistEntry.user_id == user_id)
            .order_by(WaitlistEntry.id.desc())
            .limit(1)
        )
    ).one_or_none()
    if entry is None:
        raise InputRejected.one("NOT_FOUND", ("promoId",), "You are not on this waitlist")
    if entry.status not in OPEN_STATUSES:
        return entry.id, set()
    await _close_entries(session, WaitlistEntry.id == entry.id, WaitlistStatus.LEFT, now)
    topics = {waitlist_topic(promo_id)}
    if entry.status == WaitlistStatus.OFFERED:
        topics |= await _take_back(session, entry.offer_reservation_id, stock, now)
    return entry.id, topics


async def _take_back(
    session: AsyncSession, reservation_id: int, stock: LockedStock, now: datetime
) -> set[str]:
    """Cancels the hold of an offer; its time may be over, which the next sweep then finds."""
    await session.execute(
        update(Reservation)
        .where(Reservation.id == reservation_id, Reservation.status == ReservationStatus.HELD)
        .values(status=ReservationStatus.CANCELLED, closed_at=now)
    )
    topics = {hold_topic(reservation_id), stock_topic(stock.id)}
    return topics | await serve(session, stock, now)


async def settle_offers(
    session: AsyncSession, reservation_ids: Sequence[int], status: WaitlistStatus, now: datetime
) -> None:
    """What became of the offers that these holds were, if any of them was one."""
    if reservation_ids:
        which = WaitlistEntry.offer_reservation_id.in_(reservation_ids)
        await _close_entries(session, which & (WaitlistEntry.status == "OFFERED"), status, now)


async def close_waitlists(
    session: AsyncSession, promo_ids: Sequence[int], now: datetime
) -> set[str]:
    """Sends home who waits for promos that are over. Offers stand: their holds are good."""
    which = WaitlistEntry.promo_id.in_(promo_ids) & (WaitlistEntry.status == "WAITING")
    await _close_entries(session, which, WaitlistStatus.MISSED, now)
    return {waitlist_topic(promo_id) for promo_id in promo_ids}


async def turn_away(session: AsyncSession, user_id: UUID, promo_id: int, now: datetime) -> None:
    """Ends the waiting of somebody whom the promo denies."""
    which = (WaitlistEntry.user_id == user_id) & (WaitlistEntry.promo_id == promo_id)
    waits = WaitlistEntry.status == WaitlistStatus.WAITING
    await _close_entries(session, which & waits, WaitlistStatus.MISSED, now)


async def _close_entries(
    session: AsyncSession, which: Any, status: WaitlistStatus, now: datetime
) -> None:
    await session.execute(update(WaitlistEntry).where(which).values(status=status, closed_at=now))
