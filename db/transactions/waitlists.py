"""The waitlist: who is next when a unit comes free, and the offers made to them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import InputRejected, LimitPerUser, Path, PromoNotActive
from db.events import hold_topic, notice_topic, stock_topic, waitlist_topic
from db.models import (
    Product,
    Promo,
    PromoUserCount,
    Reservation,
    Store,
    StoreProduct,
    WaitlistEntry,
)
from db.models.holds import ReservationStatus
from db.models.notifications import NotificationKind
from db.models.promos import AdmissionMode
from db.models.waitlists import WaitlistStatus
from db.queries.holds import HoldRow
from db.transactions.notifications import notify
from db.transactions.reserving import HoldRequest, hold
from db.transactions.stock import LockedPromo, LockedStock, lock_promo, lock_stock
from db.transactions.stock import lock_promos_of_stock as lock_promos_of_stock  # noqa: PLC0414

FIRST_BAND = 1
"""Admitted, but too late; before those that the model would rather have wait (band 0)."""
OPEN_STATUSES = (WaitlistStatus.WAITING, WaitlistStatus.OFFERED)
MOST_OFFERS = 100
"""Of one promo in one transaction: its locks are held meanwhile. The next event offers the rest."""


async def join(
    session: AsyncSession,
    *,
    user_id: UUID,
    promo_id: int,
    quantity: int,
    now: datetime,
    priority: int = FIRST_BAND,
    score_id: UUID | None = None,
    field: Path = ("promoId",),
) -> tuple[int, set[str]]:
    """The id of the person's place, the one they have already or a new one at the end of its band.

    Where units are free and nobody is scored, they are offered at once.

    Raises InputRejected (NOT_FOUND, OUT_OF_RANGE, IN_USE for who holds units), PromoNotActive,
    LimitPerUser.
    """
    if quantity < 1:
        at = (*field[:-1], "quantity")
        raise InputRejected.one("OUT_OF_RANGE", at, f"quantity must be at least 1, got {quantity}")
    stock = await lock_promo(session, promo_id)
    if stock is None:
        raise InputRejected.one("NOT_FOUND", field, "There is no such promo")
    promo = stock.promos[promo_id]
    if not promo.open_at(now):
        raise PromoNotActive(promo.status, field)
    if (place := await open_entry(session, user_id, promo_id)) is not None:
        return place, set()
    await _check_right(session, promo, user_id, quantity, field)
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
        topics |= await _serve_promo(session, stock, promo, now)
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


async def _close_entries(
    session: AsyncSession, which: Any, status: WaitlistStatus, now: datetime
) -> None:
    await session.execute(update(WaitlistEntry).where(which).values(status=status, closed_at=now))


async def offer_stock(session: AsyncSession, store_product_id: int, now: datetime) -> set[str]:
    """Offers what is free of a stock row, after units were added. Returns the topics to publish."""
    return await serve(session, await lock_stock(session, store_product_id), now)


async def offer_promo(session: AsyncSession, promo_id: int, now: datetime) -> set[str]:
    """The same for one promo, after its quota was raised."""
    stock = await lock_promo(session, promo_id)
    return set() if stock is None else await serve(session, stock, now)


async def serve(session: AsyncSession, stock: LockedStock, now: datetime) -> set[str]:
    """Turns free units into offers, for every locked promo of the stock row that is running.

    Reads the counters again: the caller has just changed what they count.
    """
    topics: set[str] = set()
    for promo in stock.promos.values():
        if promo.open_at(now) and await _somebody_waits(session, promo.id):
            fresh = await lock_promo(session, promo.id)
            if fresh is not None:
                topics |= await _serve_promo(session, fresh, fresh.promos[promo.id], now)
    return topics


async def _somebody_waits(session: AsyncSession, promo_id: int) -> bool:
    waiting = select(WaitlistEntry.id).where(
        WaitlistEntry.promo_id == promo_id, WaitlistEntry.status == WaitlistStatus.WAITING
    )
    return await session.scalar(waiting.limit(1)) is not None


async def _serve_promo(
    session: AsyncSession, stock: LockedStock, promo: LockedPromo, now: datetime
) -> set[str]:
    """Offers to the head of the line, and past it to whoever the rest is enough for."""
    chosen = fitting(await _line(session, promo), stock.available(promo), promo.max_per_user)
    if not chosen:
        return set()
    requests = [
        HoldRequest(entry.user_id, entry.quantity, score_id=entry.score_id) for entry in chosen
    ]
    offers = await hold(session, promo, stock, requests)
    topics = {waitlist_topic(promo.id), stock_topic(stock.id)}
    names = await _names(session, promo.id)
    # People's turns for notices are locks too: taken in one order by all.
    for entry, offer in sorted(zip(chosen, offers, strict=True), key=lambda pair: pair[0].user_id):
        await session.execute(
            update(WaitlistEntry)
            .where(WaitlistEntry.id == entry.id)
            .values(status=WaitlistStatus.OFFERED, offer_reservation_id=offer.id)
        )
        if (notice := await _tell(session, promo, offer, names, now)) is not None:
            topics.add(notice_topic(entry.user_id, notice))
    return topics


async def _tell(
    session: AsyncSession, promo: LockedPromo, offer: HoldRow, names: Any, now: datetime
) -> int | None:
    return await notify(
        session,
        kind=NotificationKind.WAITLIST_OFFER,
        user_id=offer.user_id,
        title=f"{names.product} is yours for {promo.hold_seconds} seconds",
        body=f"{offer.quantity} x {names.product} at {names.store}, {offer.unit_price} each: "
        f"check out before {offer.expires_at:%H:%M:%S} UTC.",
        now=now,
        promo_id=promo.id,
        reservation_id=offer.id,
    )


def fitting(line: Sequence[Any], available: int, limit: int | None) -> list[Any]:
    """Who is served: in the order of the line, leaving out whom the units are not enough for, and
    who has reached the limit per person meanwhile."""
    chosen = []
    for entry in line:
        within = limit is None or entry.taken + entry.quantity <= limit
        if within and entry.quantity <= available:
            chosen.append(entry)
            available -= entry.quantity
    return chosen


async def _line(session: AsyncSession, promo: LockedPromo) -> Sequence[Any]:
    rows = await session.execute(
        select(
            WaitlistEntry.id,
            WaitlistEntry.user_id,
            WaitlistEntry.quantity,
            WaitlistEntry.score_id,
            func.coalesce(PromoUserCount.taken, 0).label("taken"),
        )
        .outerjoin(
            PromoUserCount,
            (PromoUserCount.promo_id == WaitlistEntry.promo_id)
            & (PromoUserCount.user_id == WaitlistEntry.user_id),
        )
        .where(WaitlistEntry.promo_id == promo.id, WaitlistEntry.status == WaitlistStatus.WAITING)
        .order_by(WaitlistEntry.priority.desc(), WaitlistEntry.joined_at, WaitlistEntry.id)
        .limit(MOST_OFFERS)
    )
    return rows.all()


async def _names(session: AsyncSession, promo_id: int) -> Any:
    return (
        await session.execute(
            select(Product.name.label("product"), Store.name.label("store"))
            .select_from(Promo)
            .join(StoreProduct, StoreProduct.id == Promo.store_product_id)
            .join(Product, Product.id == StoreProduct.product_id)
            .join(Store, Store.id == StoreProduct.store_id)
            .where(Promo.id == promo_id)
        )
    ).one()
