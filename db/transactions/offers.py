"""Free units become offers: a hold for the next in line, and a notice that says so."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from db.events import notice_topic, stock_topic, waitlist_topic
from db.models import (
    Prediction,
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
from db.models.predictions import AdmissionDecision
from db.models.promos import AdmissionMode, PromoStatus
from db.models.waitlists import WaitlistStatus
from db.queries.holds import HoldRow
from db.transactions.notifications import notify
from db.transactions.reserving import OUTSIDE_SCHEDULE, HoldRequest, hold
from db.transactions.stock import LockedPromo, LockedStock, lock_promo, lock_stock

MOST_OFFERS = 100
"""Of one promo in one transaction: its locks are held meanwhile. The sweep offers the rest."""


async def offer_stock(session: AsyncSession, store_product_id: int, now: datetime) -> set[str]:
    """Offers what is free of a stock row, after units were added. Returns the topics to publish."""
    return await serve(session, await lock_stock(session, store_product_id), now)


async def offer_promo(session: AsyncSession, promo_id: int, now: datetime) -> set[str]:
    """The same for one promo, after its terms were eased."""
    stock = await lock_promo(session, promo_id)
    return set() if stock is None else await serve(session, stock, now)


async def offer_leftovers(session: AsyncSession, store_product_id: int, now: datetime) -> set[str]:
    """What no event has offered yet: for the sweep.

    A promo that scores keeps its units for the admitted until one comes back, so of its line only
    those are served who were admitted and came too late.
    """
    stock = await lock_stock(session, store_product_id)
    return await serve(session, stock, now, admitted_only=True)


async def serve(
    session: AsyncSession, stock: LockedStock, now: datetime, *, admitted_only: bool = False
) -> set[str]:
    """Turns free units into offers, for every locked promo of the stock row that is running.

    Returns the topics to publish.
    """
    topics: set[str] = set()
    for promo in stock.promos.values():
        if promo.status == PromoStatus.ACTIVE and await _somebody_waits(session, promo.id):
            topics |= await _serve_promo(session, promo.id, now, admitted_only=admitted_only)
    return topics


async def _somebody_waits(session: AsyncSession, promo_id: int) -> bool:
    waiting = select(WaitlistEntry.id).where(
        WaitlistEntry.promo_id == promo_id, WaitlistEntry.status == WaitlistStatus.WAITING
    )
    return await session.scalar(waiting.limit(1)) is not None


async def _serve_promo(
    session: AsyncSession, promo_id: int, now: datetime, *, admitted_only: bool
) -> set[str]:
    """Reads the counters again, which the caller has just changed. A promo that is outside its
    schedule by the database's clock has nothing to offer, and must not fail the caller's work."""
    fresh = await lock_promo(session, promo_id)
    if fresh is None:
        return set()
    try:
        async with session.begin_nested():
            return await _offer(
                session, fresh, fresh.promos[promo_id], now, admitted_only=admitted_only
            )
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") != OUTSIDE_SCHEDULE:
            raise
        return set()


async def _offer(
    session: AsyncSession,
    stock: LockedStock,
    promo: LockedPromo,
    now: datetime,
    *,
    admitted_only: bool,
) -> set[str]:
    available = stock.available(promo)
    chosen = fitting(await _line(session, promo, available, admitted_only=admitted_only), available)
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
            .values(status=WaitlistStatus.OFFERED, offer_reservation_id=offer.id, closed_at=None)
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


def fitting(line: Sequence[Any], available: int) -> list[Any]:
    """Who is served: in the order of the line, leaving out whom the rest is not enough for."""
    chosen = []
    for entry in line:
        if entry.quantity <= available:
            chosen.append(entry)
            available -= entry.quantity
    return chosen


async def _line(
    session: AsyncSession, promo: LockedPromo, available: int, *, admitted_only: bool
) -> Sequence[Any]:
    """The head of the line, of those who may be served at all: who wants too much, has reached the
    limit per person, holds units otherwise or was denied meanwhile keeps nobody else waiting."""
    statement = (
        select(
            WaitlistEntry.id, WaitlistEntry.user_id, WaitlistEntry.quantity, WaitlistEntry.score_id
        )
        .join(Promo, Promo.id == WaitlistEntry.promo_id)
        .where(
            WaitlistEntry.promo_id == promo.id,
            WaitlistEntry.status == WaitlistStatus.WAITING,
            WaitlistEntry.quantity <= available,
            *servable(),
        )
        .order_by(WaitlistEntry.priority.desc(), WaitlistEntry.joined_at, WaitlistEntry.id)
        .limit(MOST_OFFERS)
    )
    if admitted_only and promo.admission_mode == AdmissionMode.SCORED:
        statement = statement.where(WaitlistEntry.priority > 0)
    return (await session.execute(statement)).all()


def servable() -> list[Any]:
    """Conditions on a waiting entry and its promo, whatever is free."""
    taken = (
        select(PromoUserCount.taken)
        .where(
            PromoUserCount.promo_id == WaitlistEntry.promo_id,
            PromoUserCount.user_id == WaitlistEntry.user_id,
        )
        .scalar_subquery()
    )
    open_hold = exists().where(
        Reservation.promo_id == WaitlistEntry.promo_id,
        Reservation.user_id == WaitlistEntry.user_id,
        Reservation.status == ReservationStatus.HELD,
    )
    denied = exists().where(
        Prediction.promo_id == WaitlistEntry.promo_id,
        Prediction.user_id == WaitlistEntry.user_id,
        Prediction.decision == AdmissionDecision.DENY,
    )
    return [
        or_(
            Promo.max_per_user.is_(None),
            func.coalesce(taken, 0) + WaitlistEntry.quantity <= Promo.max_per_user,
        ),
        ~open_hold,
        or_(Promo.admission_mode == AdmissionMode.OPEN, ~denied),
    ]


async def waiting_stock(session: AsyncSession, limit: int) -> list[int]:
    """Stock rows with free units that somebody in line could have: what the sweep has to offer."""
    clock = select(func.clock_timestamp()).scalar_subquery()
    quota_left = func.coalesce(Promo.quota - Promo.taken, StoreProduct.on_hand)
    rows = await session.execute(
        select(Promo.store_product_id)
        .join(WaitlistEntry, WaitlistEntry.promo_id == Promo.id)
        .join(StoreProduct, StoreProduct.id == Promo.store_product_id)
        .where(
            WaitlistEntry.status == WaitlistStatus.WAITING,
            Promo.status == PromoStatus.ACTIVE,
            Promo.starts_at <= clock,
            Promo.ends_at >= clock,
            WaitlistEntry.quantity <= StoreProduct.on_hand - StoreProduct.held,
            WaitlistEntry.quantity <= quota_left,
            or_(Promo.admission_mode == AdmissionMode.OPEN, WaitlistEntry.priority > 0),
            *servable(),
        )
        .distinct()
        .limit(limit)
    )
    return list(rows.scalars())


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
