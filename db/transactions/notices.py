"""A round of promo notices: planned, cut into batches, inserted."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    Select,
    Text,
    Update,
    any_,
    case,
    cast,
    func,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from db.models import Job, NotificationDay, Product, Promo, Store, StoreProduct
from db.models.jobs import JobStatus
from db.outbox import enqueue, enqueue_many
from db.queries.notification_rounds import (
    NOW,
    OF_PROMO,
    PROMO_ID,
    USER_IDS,
    once,
    tellable,
    turns_to_take,
)
from db.transactions.notifications import (
    NOTIFY_PROMO_ACTOR,
    Turns,
    Written,
    insertion_of,
    take_turns,
    turns_of,
)

NOTIFY_ACTIVE_PROMOS_ACTOR = "notify_active_promos"
SEND_PUSH_BATCH_ACTOR = "send_push_batch"
BATCH_SIZE = 500

BEHIND = timedelta(seconds=30)
"""Batches that wait for so long say that the workers are behind: another round would only repeat
what waits."""
MOMENT = timedelta(seconds=3)
"""Promos that begin at once do so in several transactions, one after another."""


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


async def order_round(session: AsyncSession, now: datetime) -> None:
    """A round in a moment, over what this transaction changes too; all who order one share it."""
    # Locked, so that it can't be claimed, and planned, before our commit.
    waiting = (
        select(Job.id)
        .where(Job.actor == NOTIFY_ACTIVE_PROMOS_ACTOR, Job.status == JobStatus.QUEUED)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if (await session.execute(waiting)).first() is None:
        await enqueue(session, NOTIFY_ACTIVE_PROMOS_ACTOR, now=now, available_at=now + MOMENT)


async def enqueue_promos(session: AsyncSession, plan: dict[int, list[str]], now: datetime) -> None:
    """One job a promo that has anybody left to tell."""
    all_args = [{"promo_id": promo, "user_ids": users} for promo, users in plan.items()]
    await enqueue_many(session, NOTIFY_PROMO_ACTOR, all_args, now=now)


async def enqueue_batches(
    session: AsyncSession, promo_id: int, users: Sequence[str], now: datetime
) -> None:
    """`users`: ids, as they are in the arguments of a job."""
    starts = range(0, len(users), BATCH_SIZE)
    all_args = [{"promo_id": promo_id, "user_ids": users[s : s + BATCH_SIZE]} for s in starts]
    await enqueue_many(session, SEND_PUSH_BATCH_ACTOR, all_args, now=now)


async def insert_batch(
    session: AsyncSession, promo_id: int, user_ids: Sequence[UUID] | Sequence[str], now: datetime
) -> list[Written]:
    """Inserts a notice for each of them who may be told of the promo now; what was inserted.

    Their days are counted up while their turns are taken, where nobody else can; whether each is
    told is decided after it, once nobody else can write to them. Who isn't after all gets the place
    back.
    """
    batch = {"promo_id": promo_id, "now": now}
    taking = Turns(_taking_turns(), {**batch, "user_ids": user_ids})
    locked = await take_turns(session, taking)
    if not locked:
        return []
    connection = await session.connection()
    added = await connection.execute(_insertion(), {**batch, "user_ids": locked})
    written = [Written._make(row) for row in added]
    if len(written) < len(locked):
        others = set(locked).difference(user_id for user_id, _ in written)
        await connection.execute(_giving_back(), {"user_ids": list(others)})
    return written


@cache
def _taking_turns() -> ReturningInsert[UUID]:
    return turns_of(turns_to_take())


@cache
def _insertion() -> ReturningInsert[UUID, int]:
    tell, say = tellable().subquery("tell"), once(promo_words(), "say")
    person, words = tell.c, say.c
    columns = (
        person.user_id,
        OF_PROMO,
        words.title,
        func.concat(words.body, until(person.time_zone, words.ends_at, person.today)),
        PROMO_ID,
        null(),
        person.distance_m,
        person.today,
        NOW,
    )
    notices = select(*columns).join_from(tell, say, true()).order_by(person.user_id)
    return insertion_of(notices)


@cache
def _giving_back() -> Update:
    of_these = NotificationDay.user_id == any_(USER_IDS)
    return update(NotificationDay).where(of_these).values(sent=NotificationDay.sent - 1)


def promo_words() -> Select[Any]:
    """What a notice says of the promo: its title, its body, and the moment that follows the body in
    the reader's zone."""
    percent, full = Promo.discount_percent, StoreProduct.base_price
    # As db.queries.promos.price: round() of a numeric rounds half up, too.
    price = cast(func.round(full * (100 - percent) / 100, 2), Text)
    where = func.concat(Product.name, " at ", Store.name)
    off = func.concat(cast(func.trim_scale(percent), Text), " % off ", where)
    instead = func.concat(price, " instead of ", cast(full, Text), ", until ")
    return (
        select(
            case((percent == 0, where), else_=off).label("title"),
            case((percent == 0, func.concat(price, ", until ")), else_=instead).label("body"),
            Promo.ends_at,
        )
        .join(StoreProduct, StoreProduct.id == Promo.store_product_id)
        .join(Store, Store.id == StoreProduct.store_id)
        .join(Product, Product.id == StoreProduct.product_id)
        .where(Promo.id == PROMO_ID)
    )


def until(
    time_zone: ColumnElement[str], moment: ColumnElement[datetime], today: ColumnElement[object]
) -> ColumnElement[str]:
    """'18:30', or '22 Nov 18:30' if that is another day."""
    local = func.timezone(time_zone, moment)
    form = case((cast(local, Date) == today, "HH24:MI"), else_="DD Mon HH24:MI")
    return func.to_char(local, form)
