"""A round of promo notices: planned, cut into batches, inserted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ColumnElement, Date, case, cast, func, literal, null, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Job, Notification
from db.models.jobs import JobStatus
from db.models.notifications import NotificationKind
from db.outbox import enqueue, enqueue_many
from db.queries.notification_rounds import tellable
from db.queries.promos import PromoRow, price, promos_by_id
from db.transactions.notifications import NOTIFY_PROMO_ACTOR, Written, take_turns, write

NOTIFY_ACTIVE_PROMOS_ACTOR = "notify_active_promos"
SEND_PUSH_BATCH_ACTOR = "send_push_batch"
BATCH_SIZE = 500

BEHIND = timedelta(seconds=30)
"""Batches that wait for so long say that the workers are behind: another round would only repeat
what waits."""


async def request_round(session: AsyncSession, now: datetime) -> bool:
    """Enqueues a round, unless one is still open or the workers are behind with the last one's."""
    still_open = select(Job.id).where(
        Job.status.in_([JobStatus.QUEUED, JobStatus.RUNNING]),
        or_(
            Job.actor == NOTIFY_ACTIVE_PROMOS_ACTOR,
            Job.actor.in_([NOTIFY_PROMO_ACTOR, SEND_PUSH_BATCH_ACTOR])
            & (Job.created_at < now - BEHIND),
        ),
    )
    if (await session.execute(still_open.limit(1))).first() is not None:
        return False
    await enqueue(session, NOTIFY_ACTIVE_PROMOS_ACTOR, now=now)
    return True


async def enqueue_promos(session: AsyncSession, plan: dict[int, list[str]], now: datetime) -> None:
    """One job a promo that has anybody left to tell."""
    all_args = [{"promo_id": promo, "user_ids": users} for promo, users in plan.items()]
    await enqueue_many(session, NOTIFY_PROMO_ACTOR, all_args, now=now)


async def enqueue_batches(
    session: AsyncSession, promo_id: int, user_ids: Sequence[UUID], now: datetime
) -> None:
    users = [str(user_id) for user_id in user_ids]
    starts = range(0, len(users), BATCH_SIZE)
    all_args = [{"promo_id": promo_id, "user_ids": users[s : s + BATCH_SIZE]} for s in starts]
    await enqueue_many(session, SEND_PUSH_BATCH_ACTOR, all_args, now=now)


async def insert_batch(
    session: AsyncSession, promo_id: int, user_ids: Sequence[UUID], now: datetime
) -> list[Written]:
    """Inserts a notice for each of them who may be told of the promo now; what was inserted.

    Everything is checked twice: to choose whose turn to take, and again once nobody else can write
    to them. Raises IntegrityError (daily_cap) if a cap was changed between the two: try again.
    """
    promo = (await promos_by_id(session, [promo_id])).get(promo_id)
    if promo is None:
        return []
    due = tellable(promo_id, user_ids, now).subquery().c
    turns = select(due.user_id, due.today, literal(0), due.daily_cap)
    locked = await take_turns(session, turns)
    person = tellable(promo_id, locked, now).subquery().c
    words = promo_notice(promo)
    notices = select(
        person.user_id,
        literal(NotificationKind.PROMO.value),
        literal(words.title),
        func.concat(words.body, until(person.time_zone, person.ends_at, person.today)),
        literal(promo_id, Notification.promo_id.type),
        null(),
        person.distance_m,
        person.today,
        literal(now),
    ).order_by(person.user_id)
    return await write(session, notices, counted=True)


@dataclass(frozen=True, slots=True)
class Words:
    """`body` is followed by the moment, in the reader's zone."""

    title: str
    body: str


def promo_notice(promo: PromoRow) -> Words:
    discounted = price(promo.base_price, promo.discount_percent)
    at = f"at {promo.store_name}"
    if promo.discount_percent == 0:
        return Words(f"{promo.product_name} {at}", f"{discounted}, until ")
    percent = _plain(promo.discount_percent)
    return Words(
        f"{percent} % off {promo.product_name} {at}",
        f"{discounted} instead of {promo.base_price}, until ",
    )


def _plain(number: Decimal) -> str:
    return f"{number:f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{number:f}"


def until(
    time_zone: ColumnElement[str], moment: ColumnElement[datetime], today: ColumnElement[object]
) -> ColumnElement[str]:
    """'18:30', or '22 Nov 18:30' if that is another day."""
    local = func.timezone(time_zone, moment)
    form = case((cast(local, Date) == today, "HH24:MI"), else_="DD Mon HH24:MI")
    return func.to_char(local, form)
