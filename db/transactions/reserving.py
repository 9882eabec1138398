"""Taking holds: any number of requests for one promo in one transaction, one answer each."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import (
    DomainError,
    Ineligible,
    InputRejected,
    LimitPerUser,
    OutOfStock,
    PromoNotActive,
    ScoreMissing,
)
from db.events import stock_topic, waitlist_topic
from db.idempotency import key_reused
from db.models.holds import ReservationStatus
from db.models.predictions import AdmissionDecision
from db.models.promos import AdmissionMode
from db.queries.eligibility import Eligibility, eligibility_of_users
from db.queries.holds import HoldRow, reservations_by_id
from db.queries.promos import price
from db.transactions.stock import LockedPromo, LockedStock, lock_promo

OPERATION = "reserve"
OUTSIDE_SCHEDULE = "HL010"
AUDIENCE_REASONS = frozenset({"NO_PROFILE", "NO_LOCATION", "TOO_FAR", "WRONG_SEGMENT"})
TOKEN_BYTES = 16


@dataclass(frozen=True)
class HoldRequest:
    """`asked` is the hash of the request, compared where its idempotency key was used before."""

    user_id: UUID
    quantity: int
    key: str | None = None
    asked: str = ""
    score_id: UUID | None = None


Outcome = HoldRow | DomainError


@dataclass
class Batch:
    """`outcomes` in the order of the requests; `topics` to publish after the commit.

    `overdue` says that holds past their time keep units from somebody: tidy the stock row (in a
    transaction of its own, for its locks) and ask again.
    """

    outcomes: list[Outcome]
    topics: set[str] = field(default_factory=set)
    overdue: int | None = None


@dataclass
class Situation:
    """What the decisions rest on, read after the locks."""

    clock: datetime
    overdue: bool
    stale: bool = False
    """Somebody's own hold is past its time: it must be closed before they can have another."""
    taken: dict[UUID, int] = field(default_factory=dict)
    holds: dict[UUID, int] = field(default_factory=dict)
    waiting: set[UUID] = field(default_factory=set)
    answered: dict[tuple[UUID, str], tuple[str, int]] = field(default_factory=dict)
    eligibility: dict[UUID, Eligibility] = field(default_factory=dict)


@dataclass
class Plan:
    """What each request comes to: `refused`, or the id of a hold that is there, or a new one."""

    refused: dict[int, DomainError] = field(default_factory=dict)
    there: dict[int, int] = field(default_factory=dict)
    new: dict[int, int] = field(default_factory=dict)
    """Request -> place in `rows`: a second request of the same person gets the same hold."""
    rows: list[HoldRequest] = field(default_factory=list)
    short: bool = False


async def reserve(
    session: AsyncSession, promo_id: int, requests: Sequence[HoldRequest], now: datetime
) -> Batch:
    """Holds units for each request that may have them, first come first served.

    Outcomes are the hold, or PromoNotActive, Ineligible, LimitPerUser, OutOfStock, InputRejected
    (NOT_FOUND, IDEMPOTENCY_KEY_REUSED). A person's open hold on the promo is the answer to a
    further request of theirs, and a repeated idempotency key gets what it got at first.
    """
    stock = await lock_promo(session, promo_id)
    if stock is None:
        gone = InputRejected.one("NOT_FOUND", ("input", "promoId"), "There is no such promo")
        return Batch([gone] * len(requests))
    promo = stock.promos[promo_id]
    situation = await _situation(session, promo_id, stock.id, requests)
    if promo.enforce_audience:
        users = [request.user_id for request in requests]
        situation.eligibility = await eligibility_of_users(
            session, users, promo_id=promo_id, now=situation.clock
        )
    plan = decide(requests, promo, stock, situation)
    if situation.overdue and (plan.short or situation.stale):
        return Batch([], overdue=stock.id)
    made = await hold(session, promo, stock, plan.rows)
    await _remember(session, requests, plan, made, situation.answered, now)
    topics = {stock_topic(stock.id)} if made else set()
    if any(row.user_id in situation.waiting for row in plan.rows):
        topics.add(waitlist_topic(promo_id))  # whoever holds units waits no longer (a trigger)
    return Batch(await _outcomes(session, plan, made, len(requests)), topics)


def decide(
    requests: Sequence[HoldRequest], promo: LockedPromo, stock: LockedStock, facts: Situation
) -> Plan:
    """Goes through the requests in their order; changes nothing."""
    plan = Plan()
    left = stock.available(promo)
    taken, holders = dict(facts.taken), dict(facts.holds)
    first_of_user: dict[UUID, int] = {}
    first_of_key: dict[tuple[UUID, str], int] = {}
    for number, request in enumerate(requests):
        user = request.user_id
        known = facts.answered.get((user, request.key)) if request.key else None
        twin = first_of_key.setdefault((user, request.key), number) if request.key else number
        if known is not None:
            _repeat(plan, number, known, request)
        elif twin != number and requests[twin].asked != request.asked:
            plan.refused[number] = key_reused()
        elif user in holders:
            plan.there[number] = holders[user]
        elif user in first_of_user:
            plan.new[number] = first_of_user[user]
        elif refusal := _refusal(request, promo, facts, taken.get(user, 0), left):
            plan.refused[number] = refusal
            plan.short |= isinstance(refusal, OutOfStock)
        else:
            first_of_user[user] = plan.new[number] = len(plan.rows)
            plan.rows.append(request)
            left -= request.quantity
    return plan


def _repeat(plan: Plan, number: int, known: tuple[str, int], request: HoldRequest) -> None:
    asked, hold_id = known
    if asked == request.asked:
        plan.there[number] = hold_id
    else:
        plan.refused[number] = key_reused()


def _refusal(
    request: HoldRequest, promo: LockedPromo, facts: Situation, taken: int, left: int
) -> DomainError | None:
    if not promo.open_at(facts.clock):
        return PromoNotActive(promo.status)
    if promo.enforce_audience:
        eligibility = facts.eligibility.get(request.user_id)
        reasons = eligibility.reasons if eligibility else ("NO_PROFILE",)
        if against := [reason for reason in reasons if reason in AUDIENCE_REASONS]:
            return Ineligible(against, eligibility.distance_meters if eligibility else None)
    if promo.admission_mode == AdmissionMode.SCORED and request.score_id is None:
        return ScoreMissing()
    if promo.max_per_user is not None and taken + request.quantity > promo.max_per_user:
        return LimitPerUser(promo.max_per_user, taken)
    if request.quantity > left:
        return OutOfStock(max(left, 0), waitlist_open=True)
    return None


SITUATION = text("""
    -- read once: an index can look for what lies before a value, not before a running clock
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
    SELECT clock.now AS clock, asked.user_id, counts.taken, hold.id AS hold_id,
           hold.expires_at <= clock.now AS hold_is_late, entry.id IS NOT NULL AS waiting,
           EXISTS (
               SELECT FROM reservations late
               WHERE late.store_product_id = :stock_id AND late.closed_at IS NULL
                 AND late.expires_at <= (SELECT now FROM clock)
           ) AS overdue
    FROM clock CROSS JOIN unnest(CAST(:users AS uuid[])) asked (user_id)
    -- a look-up a person, by index: a join may be planned as a walk over all open holds, and a
    -- plan made in a quiet hour is kept into the rush
    LEFT JOIN LATERAL (
        SELECT taken FROM promo_user_counts
        WHERE promo_id = :promo_id AND user_id = asked.user_id LIMIT 1
    ) counts ON true
    LEFT JOIN LATERAL (
        SELECT id, expires_at FROM reservations
        WHERE promo_id = :promo_id AND user_id = asked.user_id AND status = 'HELD' LIMIT 1
    ) hold ON true
    LEFT JOIN LATERAL (
        SELECT id FROM waitlist_entries
        WHERE promo_id = :promo_id AND user_id = asked.user_id AND status = 'WAITING' LIMIT 1
    ) entry ON true
""")
ANSWERED = text("""
    SELECT keys.user_id, keys.key, keys.request_hash, keys.response_ref
    FROM unnest(CAST(:users AS uuid[]), CAST(:keys AS text[])) asked (user_id, key)
    JOIN idempotency_keys keys USING (user_id, key)
    WHERE keys.operation = :operation
""")


async def _situation(
    session: AsyncSession, promo_id: int, stock_id: int, requests: Sequence[HoldRequest]
) -> Situation:
    users = list({request.user_id for request in requests})
    values = {"stock_id": stock_id, "promo_id": promo_id, "users": users}
    rows = (await session.execute(SITUATION, values)).all()
    situation = Situation(clock=rows[0].clock, overdue=rows[0].overdue)
    for row in rows:
        situation.taken[row.user_id] = row.taken or 0
        if row.hold_id is not None:
            situation.holds[row.user_id] = row.hold_id
            situation.stale |= row.hold_is_late
        if row.waiting:
            situation.waiting.add(row.user_id)
    if keyed := [request for request in requests if request.key is not None]:
        values = {
            "users": [request.user_id for request in keyed],
            "keys": [request.key for request in keyed],
            "operation": OPERATION,
        }
        for row in await session.execute(ANSWERED, values):
            found = (row.request_hash, int(row.response_ref))
            situation.answered[row.user_id, row.key] = found
    return situation


INSERT = text("""
    INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity, unit_price,
                              created_at, expires_at, score_id)
    SELECT asked.token, :promo_id, :stock_id, asked.user_id, asked.quantity, :unit_price,
           clock.now, clock.now + :hold_seconds * interval '1 second', asked.score_id
    FROM unnest(CAST(:tokens AS text[]), CAST(:users AS uuid[]), CAST(:quantities AS int[]),
                CAST(:scores AS uuid[])) asked (token, user_id, quantity, score_id),
         (SELECT clock_timestamp() AS now) clock
    RETURNING id, token, created_at, expires_at
""")
REMEMBER = text("""
    INSERT INTO idempotency_keys (user_id, operation, key, request_hash, response_ref, created_at)
    SELECT asked.user_id, :operation, asked.key, asked.request_hash, asked.ref, :now
    FROM unnest(CAST(:users AS uuid[]), CAST(:keys AS text[]), CAST(:hashes AS text[]),
                CAST(:refs AS text[])) asked (user_id, key, request_hash, ref)
    ON CONFLICT DO NOTHING
    RETURNING key
""")


class KeyRace(Exception):
    """Another promo's batch used one of the keys meanwhile: done again, it will be seen."""


async def hold(
    session: AsyncSession, promo: LockedPromo, stock: LockedStock, rows: Sequence[HoldRequest]
) -> list[HoldRow]:
    """Inserts one hold a row, in their order. The caller has the locks and has checked all."""
    if not rows:
        return []
    tokens = [secrets.token_urlsafe(TOKEN_BYTES) for _ in rows]
    unit_price = price(stock.base_price, promo.discount_percent)
    inserted = await session.execute(
        INSERT,
        {
            "promo_id": promo.id,
            "stock_id": stock.id,
            "unit_price": unit_price,
            "hold_seconds": promo.hold_seconds,
            "tokens": tokens,
            "users": [row.user_id for row in rows],
            "quantities": [row.quantity for row in rows],
            "scores": [row.score_id for row in rows],
        },
    )
    made = {row.token: row for row in inserted}
    return [
        HoldRow(
            id=made[token].id,
            token=token,
            promo_id=promo.id,
            store_product_id=stock.id,
            user_id=row.user_id,
            quantity=row.quantity,
            unit_price=unit_price,
            status=ReservationStatus.HELD,
            created_at=made[token].created_at,
            expires_at=made[token].expires_at,
            closed_at=None,
            admission=AdmissionDecision.ADMIT,
        )
        for token, row in zip(tokens, rows, strict=True)
    ]


async def _remember(
    session: AsyncSession,
    requests: Sequence[HoldRequest],
    plan: Plan,
    made: Sequence[HoldRow],
    answered: Mapping[tuple[UUID, str], object],
    now: datetime,
) -> None:
    """Keeps the answer under each key that got a hold. A refused request may be asked again."""
    answers: dict[tuple[UUID, str], tuple[str, int]] = {}
    for number, request in enumerate(requests):
        if request.key is None or number in plan.refused:
            continue
        hold_id = plan.there[number] if number in plan.there else made[plan.new[number]].id
        if (request.user_id, request.key) not in answered:
            answers[request.user_id, request.key] = (request.asked, hold_id)
    if not answers:
        return
    # In one order for all: two batches that share keys must not wait for each other in a ring.
    named = sorted(answers)
    values = {
        "operation": OPERATION,
        "now": now,
        "users": [user for user, _ in named],
        "keys": [key for _, key in named],
        "hashes": [answers[name][0] for name in named],
        "refs": [str(answers[name][1]) for name in named],
    }
    kept = (await session.execute(REMEMBER, values)).all()
    if len(kept) < len(named):
        raise KeyRace


async def _outcomes(
    session: AsyncSession, plan: Plan, made: Sequence[HoldRow], count: int
) -> list[Outcome]:
    ids = list(set(plan.there.values()))
    there = await reservations_by_id(session, ids) if ids else {}
    outcomes: list[Outcome] = []
    for number in range(count):
        if number in plan.refused:
            outcomes.append(plan.refused[number])
        elif number in plan.there:
            outcomes.append(there[plan.there[number]])
        else:
            outcomes.append(made[plan.new[number]])
    return outcomes
