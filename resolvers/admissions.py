"""Scored admission: the attendance model on what the server knows, before anything is held."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from db.errors import AdmissionRefused, InputRejected, Path
from db.models.predictions import AdmissionDecision
from db.models.promos import AdmissionMode
from db.queries.admissions import Applicant, applicant
from db.transactions import waitlists
from db.transactions.admissions import (
    Scored,
    decide_admission,
    record_admission,
    settle_admission,
)
from db.transactions.models import ensure_model
from db.transactions.reserving import OPERATION, HoldRequest
from ml.attendance.spec import KEY as ATTENDANCE_KEY
from resolvers.attendance import checked
from schema.edge.context import Context
from schema.edge.definitions import ATTENDANCE
from schema.edge.viewers import Viewer
from schema.holds import ReserveInput

PROBABILITY = "attendance_probability"

TYPICAL: dict[str, Any] = {
    "email": "somebody@example.com",
    "age": 30,
    "country": "CO",
    "city": "Bogota",
    "account_age_days": 0,
    "purchases_last_12_months": 0,
    "canceled_orders": 0,
    "tickets_per_order_avg": 2.0,
    "distance_to_venue_km": 5.0,
    "payment_failures_ratio": 0.02,
    "event_affinity_score": 0.5,
    "night_purchase_ratio": 0.1,
    "resale_reports_count": 0,
    "attendance_rate": 0.8,
}
"""What is assumed of somebody who says nothing: neither here nor there, so that silence is no
advantage over the truth and no verdict either."""


@dataclass(frozen=True)
class Decided:
    decision: AdmissionDecision
    score_id: UUID


async def admission(
    context: Context, viewer: Viewer, promo_id: int, input: ReserveInput, request: HoldRequest
) -> UUID | None:
    """The id of the score that admits the caller; None where the promo scores nobody.

    Raises AdmissionRefused, with the place on the waitlist for the band between, and BadUserInput
    for an attendee that can't be.
    """
    claimed = checked(input.attendee, "input", "attendee") if input.attendee else None
    field = ("input", "promoId")
    decided = await decide(context, viewer.id, promo_id, claimed, request.key, field)
    if decided is None:
        return None
    if decided.decision is AdmissionDecision.DENY:
        raise AdmissionRefused(decided.decision, None)
    if decided.decision is AdmissionDecision.WAITLIST:
        entry_id = await _wait(context, viewer.id, promo_id, request, decided.score_id)
        raise AdmissionRefused(decided.decision, entry_id)
    return decided.score_id


async def decide(
    context: Context,
    user_id: UUID,
    promo_id: int,
    claimed: dict[str, Any] | None,
    key: str | None,
    field: Path,
) -> Decided | None:
    """What the person's score, made now if there is none, comes to; None if none is needed: the
    promo scores nobody, does not run (and says so itself), or has answered this before."""
    async with context.database.read() as reader:
        facts = await applicant(
            reader, promo_id, user_id, operation=OPERATION, key=key, now=context.now
        )
    if facts is None:
        raise InputRejected.one("NOT_FOUND", field, "There is no such promo")
    if facts.mode == AdmissionMode.OPEN or facts.answered or not facts.running:
        return None
    scored = None
    if facts.score_id is None:
        payload = known_over_claimed(claimed or TYPICAL, facts)
        scored = await asyncio.to_thread(_score, context, payload)
    return await _keep(context, user_id, promo_id, facts, scored)


def known_over_claimed(claimed: dict[str, Any], facts: Applicant) -> dict[str, Any]:
    """What the server knows replaces what the client says: that can be forged."""
    known = {
        "email": facts.email,
        "account_age_days": facts.account_age_days,
        "purchases_last_12_months": facts.purchases_last_12_months,
        "canceled_orders": facts.canceled_orders,
        "tickets_per_order_avg": facts.tickets_per_order_avg,
        "night_purchase_ratio": facts.night_purchase_ratio,
        "distance_to_venue_km": (
            None if facts.distance_meters is None else facts.distance_meters / 1_000
        ),
    }
    return claimed | {name: value for name, value in known.items() if value is not None}


def _score(context: Context, payload: dict[str, Any]) -> Scored:
    """In a thread: an explanation takes milliseconds."""
    scorer = context.services.models.scorer(ATTENDANCE_KEY)
    impacts = [
        {"feature": impact.feature, "impact": impact.impact, "value": impact.value}
        for impact in scorer.explain_one(payload)
    ]
    output = {PROBABILITY: scorer.score_one(payload)}
    return Scored(scorer.version, scorer.is_mock, payload, output, impacts)


async def _keep(
    context: Context, user_id: UUID, promo_id: int, facts: Applicant, scored: Scored | None
) -> Decided:
    """Decides by the score that is kept: of two requests at once, both by the same one."""

    def decided_by(probability: float) -> AdmissionDecision:
        return decide_admission(probability, facts.admit_above, facts.deny_below)

    async with context.database.transaction() as session:
        score_id, probability = facts.score_id, facts.probability
        if scored is not None:
            score_id, output = await record_admission(
                session,
                model_id=await ensure_model(session, ATTENDANCE, context.now),
                promo_id=promo_id,
                user_id=user_id,
                scored=scored,
                decision=decided_by(scored.output[PROBABILITY]),
                now=context.now,
            )
            probability = output[PROBABILITY]
        assert score_id is not None  # noqa: S101 - there was one, or it was just made
        assert probability is not None  # noqa: S101 - the same
        decision = decided_by(probability)
        if scored is not None or decision != facts.decision:
            await settle_admission(
                session, promo_id=promo_id, user_id=user_id, decision=decision, now=context.now
            )
    return Decided(decision, score_id)


async def _wait(
    context: Context, user_id: UUID, promo_id: int, request: HoldRequest, score_id: UUID
) -> int:
    async with context.database.transaction() as session:
        entry_id, topics = await waitlists.join(
            session,
            user_id=user_id,
            promo_id=promo_id,
            quantity=request.quantity,
            now=context.now,
            score_id=score_id,
            field=("input", "promoId"),
        )
    context.services.announcer.announce(topics)
    return entry_id
