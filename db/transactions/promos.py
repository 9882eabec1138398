"""Promos: made and changed by the owner of the store, brought to life and ended by the clock."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import InputProblem, InputRejected, NotOwner
from db.events import promo_topic
from db.models import Promo, PromoUserCount, Store, StoreProduct
from db.models.promos import AdmissionMode, PromoStatus
from db.outbox import enqueue_many
from db.transactions.holds import release_promo
from db.transactions.notices import order_round
from db.transactions.notifications import NOTIFY_PROMO_ACTOR
from db.transactions.offers import offer_promo
from db.transactions.promo_terms import (
    Terms,
    folded,
    missing_terms,
    problem,
    schedule_problems,
    term_problems,
)
from db.transactions.waitlists import close_waitlists

OVER = (PromoStatus.ENDED, PromoStatus.CANCELLED)
BATCH = 100
"""Promos that begin or end in one transaction: their locks are held meanwhile."""
MOST_ROUNDS = 20
"""Promos that begin at once with a round of notices each; of more, one round over all active promos
finds everybody in a fraction of the time."""


@dataclass(frozen=True)
class Editor:
    """Who changes a promo: the owner of its store, or an ADMIN."""

    id: UUID
    is_admin: bool

    def require_right(self, owner_id: UUID) -> None:
        """Raises NotOwner."""
        if not self.is_admin and self.id != owner_id:
            raise NotOwner


async def create_promo(
    session: AsyncSession, terms: Terms, *, editor: Editor, hold_seconds: int, now: datetime
) -> int:
    """The id of a new SCHEDULED promo; it goes live by the clock, even if it starts in the past.

    `hold_seconds` is for terms that say nothing of it.

    Raises NotOwner; InputRejected: REQUIRED, NOT_FOUND (the stock row), INVALID_SCHEDULE,
    OUT_OF_RANGE.
    """
    problems = [
        *missing_terms(terms),
        *await _stock_problems(session, terms.get("store_product_id"), editor),
        *term_problems(terms),
        *schedule_problems(terms, terms, now),
    ]
    if problems:
        raise InputRejected(problems)
    values = {"hold_seconds": hold_seconds, **folded(terms), "created_at": now, "updated_at": now}
    made = await session.execute(insert(Promo).values(**values).returning(Promo.id))
    return made.scalar_one()


async def update_promo(
    session: AsyncSession, promo_id: int, terms: Terms, *, editor: Editor, now: datetime
) -> set[str]:
    """Changes what is given; if it lets more in, free units are offered to who waits.

    Returns the topics to publish. Raises NotOwner; InputRejected: NOT_FOUND, READ_ONLY (a promo
    that is over, its stock row, the start of an active one), REQUIRED, INVALID_SCHEDULE,
    OUT_OF_RANGE.
    """
    promo = await _locked(session, promo_id, editor)
    if promo.status in OVER:
        raise _over(promo.status)
    problems = [
        *_fixed_problems(terms, promo),
        *term_problems(terms),
        *schedule_problems(terms, {**promo._mapping, **terms}, now),  # noqa: SLF001 - its name
        *_quota_problems(terms, promo.taken),
    ]
    if problems:
        raise InputRejected(problems)
    values = {**folded(terms), "updated_at": now}
    await session.execute(update(Promo).where(Promo.id == promo_id).values(**values))
    if "max_per_user" in terms:
        await _limit_persons(session, promo_id, terms["max_per_user"])
    topics = {promo_topic(promo_id)}
    if _lets_more_in(promo, terms):
        topics |= await offer_promo(session, promo_id, now)
    return topics


async def cancel_promo(
    session: AsyncSession, promo_id: int, *, editor: Editor, now: datetime
) -> set[str]:
    """Ends it now, releases its holds and sends who waits home. Repeatable.

    Returns the topics to publish. Raises NotOwner; InputRejected: NOT_FOUND, READ_ONLY (it ended).
    """
    promo = await _locked(session, promo_id, editor)
    if promo.status == PromoStatus.CANCELLED:
        return set()
    if promo.status == PromoStatus.ENDED:
        raise _over(promo.status)
    await _move(session, [promo_id], PromoStatus.CANCELLED, now)
    return {promo_topic(promo_id)} | await release_promo(session, promo_id, now)


async def activate_due(session: AsyncSession, now: datetime) -> list[int]:
    """Brings to life the promos whose time has come, BATCH at most, and orders their notices.

    Both ends of a schedule belong to it. Returns their ids.
    """
    due = (Promo.status == PromoStatus.SCHEDULED, Promo.starts_at <= now, Promo.ends_at >= now)
    promo_ids = await _claimed(session, select(Promo.id).where(*due).order_by(Promo.starts_at))
    await _move(session, promo_ids, PromoStatus.ACTIVE, now)
    if len(promo_ids) > MOST_ROUNDS:
        await order_round(session, now)
    else:
        one_each = [{"promo_id": promo_id} for promo_id in promo_ids]
        await enqueue_many(session, NOTIFY_PROMO_ACTOR, one_each, now=now)
    return promo_ids


@dataclass(frozen=True)
class Ended:
    promo_ids: list[int]
    topics: set[str] = field(default_factory=set)


async def end_over(session: AsyncSession, now: datetime) -> Ended:
    """Ends the promos whose time is over, BATCH at most; those that never went live, too.

    Open holds live on until their own time is over. The topics are to be published.
    """
    running = select(Promo.id).where(Promo.status == PromoStatus.ACTIVE)
    missed = select(Promo.id).where(Promo.status == PromoStatus.SCHEDULED, Promo.starts_at <= now)
    promo_ids = [
        *await _claimed(session, running.where(Promo.ends_at < now).order_by(Promo.ends_at)),
        *await _claimed(session, missed.where(Promo.ends_at < now).order_by(Promo.starts_at)),
    ]
    if not promo_ids:
        return Ended([])
    await _move(session, promo_ids, PromoStatus.ENDED, now)
    topics = await close_waitlists(session, promo_ids, now)
    return Ended(promo_ids, topics | set(map(promo_topic, promo_ids)))


async def _claimed(session: AsyncSession, wanted: Select[Any]) -> list[int]:
    """Locked by us; what others have in hand is theirs, or is seen to at the next turn."""
    statement = wanted.limit(BATCH).with_for_update(skip_locked=True, key_share=True)
    return list((await session.execute(statement)).scalars())


async def _move(
    session: AsyncSession, promo_ids: Sequence[int], status: PromoStatus, now: datetime
) -> None:
    if promo_ids:
        moved = update(Promo).where(Promo.id.in_(promo_ids))
        await session.execute(moved.values(status=status, updated_at=now))


async def _stock_problems(
    session: AsyncSession, store_product_id: int | None, editor: Editor
) -> list[InputProblem]:
    """Raises NotOwner. Until the commit the stock row stays there, and the store where it is: the
    promo takes its point.
    """
    if store_product_id is None:
        return []
    store_id = await session.scalar(
        select(StoreProduct.store_id)
        .where(StoreProduct.id == store_product_id)
        .with_for_update(read=True, key_share=True)
    )
    if store_id is None:
        return [problem("NOT_FOUND", "store_product_id", "is not the id of a store's product")]
    owner_id = (
        await session.execute(
            select(Store.owner_id).where(Store.id == store_id).with_for_update(read=True)
        )
    ).scalar_one()
    editor.require_right(owner_id)
    return []


async def _locked(session: AsyncSession, promo_id: int, editor: Editor) -> Row[*tuple[Any, ...]]:
    """Raises InputRejected (NOT_FOUND) or NotOwner."""
    statement = (
        select(
            Promo.store_product_id,
            Promo.status,
            Promo.starts_at,
            Promo.ends_at,
            Promo.quota,
            Promo.taken,
            Promo.max_per_user,
            Promo.admission_mode,
            Store.owner_id,
        )
        .join(StoreProduct, StoreProduct.id == Promo.store_product_id)
        .join(Store, Store.id == StoreProduct.store_id)
        .where(Promo.id == promo_id)
        .with_for_update(of=Promo, key_share=True)
    )
    promo = (await session.execute(statement)).one_or_none()
    if promo is None:
        raise InputRejected.one("NOT_FOUND", ("id",), "There is no such promo")
    editor.require_right(promo.owner_id)
    return promo


def _over(status: str) -> InputRejected:
    message = f"The promo is {status.lower()} and stays as it is"
    return InputRejected.one("READ_ONLY", ("id",), message)


def _fixed_problems(terms: Terms, promo: Row[*tuple[Any, ...]]) -> Iterator[InputProblem]:
    stock_id, starts_at = terms.get("store_product_id"), terms.get("starts_at")
    if stock_id not in {None, promo.store_product_id}:
        yield problem("READ_ONLY", "store_product_id", "can't change: make another promo")
    if promo.status == PromoStatus.ACTIVE and starts_at not in {None, promo.starts_at}:
        yield problem("READ_ONLY", "starts_at", "can't change: the promo is running")


def _quota_problems(terms: Terms, taken: int) -> Iterator[InputProblem]:
    quota = terms.get("quota")
    if quota is not None and 1 <= quota < taken:
        message = f"must be at least {taken}, the units that are held or sold, got {quota}"
        yield problem("OUT_OF_RANGE", "quota", message)


def _lets_more_in(promo: Row[*tuple[Any, ...]], terms: Terms) -> bool:
    """Whether somebody who had to wait may be let in by what is said now."""
    opened = (promo.admission_mode, terms.get("admission_mode")) == (
        AdmissionMode.SCORED,
        AdmissionMode.OPEN,
    )
    return (
        opened
        or _has_grown(promo.quota, terms.get("quota", promo.quota))
        or _has_grown(promo.max_per_user, terms.get("max_per_user", promo.max_per_user))
    )


def _has_grown(before: int | None, after: int | None) -> bool:
    """None is no limit."""
    return before is not None and (after is None or after > before)


async def _limit_persons(session: AsyncSession, promo_id: int, limit: int | None) -> None:
    """Who has more than a lowered limit keeps it, and can take no more."""
    allowed = None if limit is None else func.greatest(PromoUserCount.taken, limit)
    counts = update(PromoUserCount).where(PromoUserCount.promo_id == promo_id)
    await session.execute(counts.values(max_per_user=allowed))
