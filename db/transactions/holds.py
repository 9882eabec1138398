"""Holds: taken in batches, then confirmed, given back or expired.

Locks are taken in one order everywhere: promo, stock row, hold. The clock is the database's, read
after the locks: several servers share it, and time spent waiting counts.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import HoldClosed, HoldExpired, InputRejected, Path
from db.events import hold_topic, promo_topic, stock_topic, waitlist_topic
from db.models import Promo, Reservation, StoreProduct
from db.models.holds import ReservationStatus
from db.models.waitlists import WaitlistStatus
from db.queries.holds import HoldRow, hold_by_token
from db.transactions import waitlists
from db.transactions.offers import serve
from db.transactions.stock import lock_stock

EXPIRED_MEANWHILE = "HL011"


async def checkout(
    session: AsyncSession, *, user_id: UUID, token: str, now: datetime
) -> tuple[HoldRow, set[str]]:
    """Buys what is held; a repeat finds it bought. Returns the hold and the topics to publish.

    Raises InputRejected (NOT_FOUND), HoldExpired, HoldClosed.
    """
    field = ("input", "token")
    hold = await _own_hold(session, user_id, token, field)
    if hold.status == ReservationStatus.HELD:
        await _lock_stock_row(session, hold.store_product_id)
        if await _confirm(session, hold):
            bought = await _own_hold(session, user_id, token, field)
            await waitlists.settle_offers(session, [hold.id], WaitlistStatus.CONVERTED, now)
            return bought, {
                hold_topic(hold.id),
                stock_topic(hold.store_product_id),
                waitlist_topic(hold.promo_id),
            }
        hold = await _own_hold(session, user_id, token, field)  # somebody was quicker
    if hold.status == ReservationStatus.CONFIRMED:
        return hold, set()
    if hold.status == ReservationStatus.CANCELLED:
        raise HoldClosed(hold.status, field)
    raise HoldExpired(hold.expires_at)


async def _confirm(session: AsyncSession, hold: HoldRow) -> bool:
    try:
        confirmed = await session.execute(
            update(Reservation)
            .where(
                Reservation.id == hold.id,
                Reservation.status == ReservationStatus.HELD,
                Reservation.expires_at > func.clock_timestamp(),
            )
            .values(status=ReservationStatus.CONFIRMED, closed_at=func.clock_timestamp())
            .returning(Reservation.id)
        )
    except DBAPIError as error:
        # Between the WHERE and the trigger lies a moment, and the hold's end lay in it.
        if getattr(error.orig, "sqlstate", "") == EXPIRED_MEANWHILE:
            raise HoldExpired(hold.expires_at) from None
        raise
    return confirmed.one_or_none() is not None


async def cancel(
    session: AsyncSession, *, user_id: UUID, token: str, now: datetime
) -> tuple[HoldRow, set[str]]:
    """Gives back what is held; a repeat finds it given back. The next in line is offered it.

    Raises InputRejected (NOT_FOUND), or HoldClosed for a hold that was bought.
    """
    field = ("token",)
    hold = await _own_hold(session, user_id, token, field)
    if hold.status == ReservationStatus.HELD:
        stock = await lock_stock(session, hold.store_product_id)
        closed = await _close(session, Reservation.id == hold.id)
        await waitlists.settle_offers(session, closed, WaitlistStatus.LEFT, now)
        topics = await serve(session, stock, now)
        topics |= {hold_topic(hold.id), stock_topic(hold.store_product_id)}
        hold = await _own_hold(session, user_id, token, field)
    else:
        topics = set()
    if hold.status == ReservationStatus.CONFIRMED:
        raise HoldClosed(hold.status, field)
    return hold, topics


async def _close(session: AsyncSession, which: Any) -> list[int]:
    """Ends open holds: EXPIRED if their time is over, else CANCELLED. Their ids."""
    overdue = Reservation.expires_at <= func.clock_timestamp()
    closed = await session.execute(
        update(Reservation)
        .where(which, Reservation.status == ReservationStatus.HELD)
        .values(
            status=case((overdue, ReservationStatus.EXPIRED), else_=ReservationStatus.CANCELLED),
            closed_at=func.least(Reservation.expires_at, func.clock_timestamp()),
        )
        .returning(Reservation.id)
    )
    return list(closed.scalars())


async def tidy_stock(session: AsyncSession, store_product_id: int, now: datetime) -> set[str]:
    """Expires the holds of a stock row that are past their time and offers what they free.

    Returns the topics to publish.
    """
    stock = await lock_stock(session, store_product_id)
    expired = await session.execute(
        update(Reservation)
        .where(
            Reservation.store_product_id == store_product_id,
            Reservation.closed_at.is_(None),
            Reservation.expires_at <= select(func.clock_timestamp()).scalar_subquery(),
            # A promo that this transaction has not locked: another one has it in hand.
            Reservation.promo_id.in_(stock.promo_ids),
        )
        .values(status=ReservationStatus.EXPIRED, closed_at=Reservation.expires_at)
        .returning(Reservation.id)
    )
    ids = list(expired.scalars())
    if not ids:
        return set()
    await waitlists.settle_offers(session, ids, WaitlistStatus.MISSED, now)
    topics = await serve(session, stock, now)
    return topics | {stock_topic(store_product_id), *map(hold_topic, ids)}


async def release_promo(session: AsyncSession, promo_id: int, now: datetime) -> set[str]:
    """Gives back every open hold of a promo that is being cancelled, and sends its queue home.

    The caller has locked the promo. Returns the topics to publish.
    """
    stock_id = (
        await session.execute(
            select(StoreProduct.id)
            .join(Promo, Promo.store_product_id == StoreProduct.id)
            .where(Promo.id == promo_id)
            .with_for_update(key_share=True, of=StoreProduct)
        )
    ).scalar_one()
    closed = await _close(session, Reservation.promo_id == promo_id)
    await waitlists.settle_offers(session, closed, WaitlistStatus.MISSED, now)
    topics = await waitlists.close_waitlists(session, [promo_id], now)
    return topics | {promo_topic(promo_id), stock_topic(stock_id), *map(hold_topic, closed)}


async def _own_hold(session: AsyncSession, user_id: UUID, token: str, field: Path) -> HoldRow:
    """Somebody else's hold is as absent: a token that leaks must not even be confirmed."""
    hold = await hold_by_token(session, token)
    if hold is None or hold.user_id != user_id:
        raise InputRejected.one("NOT_FOUND", field, "There is no such hold")
    return hold


async def _lock_stock_row(session: AsyncSession, store_product_id: int) -> None:
    await session.execute(
        select(StoreProduct.id)
        .where(StoreProduct.id == store_product_id)
        .with_for_update(key_share=True)
    )
