"""Scored admission: the attendance model on what the server knows, before anything is held."""

import asyncio
from typing import Any
from uuid import UUID

from db.errors import AdmissionRefused, InputRejected
from db.models.predictions import AdmissionDecision
from db.models.promos import AdmissionMode
from db.queries.admissions import Applicant, applicant
from db.transactions import waitlists
from db.transactions.admissions import SECOND_BAND, Scored, decide_admission, record_admission
from db.transactions.models import ensure_model
from db.transactions.reserving import OPERATION, HoldRequest
from ml.attendance.spec import KEY as ATTENDANCE_KEY
from resolvers.attendance import checked
from schema.edge.context import Context
from schema.edge.definitions import ATTENDANCE
from schema.edge.viewers import Viewer
from schema.holds import ReserveInput

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


async def admission(
    context: Context, viewer: Viewer, promo_id: int, input: ReserveInput, request: HoldRequest
) -> UUID | None:
    """The id of the score that admits the caller; None where the promo scores nobody.

    Raises AdmissionRefused, with the place on the waitlist for the band between, and BadUserInput
    for an attendee that can't be.
    """
    claimed = checked(input.attendee, "input", "attendee") if input.attendee else None
    async with context.database.read() as reader:
        facts = await applicant(
            reader,
            promo_id,
            viewer.id,
            operation=OPERATION,
            key=request.key,
            now=context.now,
        )
    if facts is None:
        raise InputRejected.one("NOT_FOUND", ("input", "promoId"), "There is no such promo")
    if facts.mode == AdmissionMode.OPEN or facts.answered or not facts.running:
        return None  # a promo that is not running says so itself, and needs no score for it
    if facts.score_id is not None and facts.decision is not None:
        decision, score_id = AdmissionDecision(facts.decision), facts.score_id
    else:
        payload = known_over_claimed(claimed or TYPICAL, facts)
        scored, probability = await asyncio.to_thread(_score, context, payload)
        decision = decide_admission(probability, facts.admit_above, facts.deny_below)
        score_id = await _keep(context, viewer.id, promo_id, decision, scored)
    if decision is AdmissionDecision.DENY:
        raise AdmissionRefused(decision, None)
    if decision is AdmissionDecision.WAITLIST:
        entry_id = await _wait(context, viewer.id, promo_id, request, score_id)
        raise AdmissionRefused(decision, entry_id)
    return score_id


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


def _score(context: Context, payload: dict[str, Any]) -> tuple[Scored, float]:
    """In a thread: an explanation takes milliseconds."""
    scorer = context.services.models.scorer(ATTENDANCE_KEY)
    probability = scorer.score_one(payload)
    impacts = [
        {"feature": impact.feature, "impact": impact.impact, "value": impact.value}
        for impact in scorer.explain_one(payload)
    ]
    output = {"attendance_probability": probability}
    scored = Scored(scorer.version, scorer.is_mock, payload, output, impacts)
    return scored, probability


async def _keep(
    context: Context, user_id: UUID, promo_id: int, decision: AdmissionDecision, scored: Scored
) -> UUID:
    async with context.database.transaction() as session:
        model_id = await ensure_model(session, ATTENDANCE, context.now)
        return await record_admission(
            session,
            model_id=model_id,
            promo_id=promo_id,
            user_id=user_id,
            decision=decision,
            scored=scored,
            now=context.now,
        )


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
            priority=SECOND_BAND,
            score_id=score_id,
            field=("input", "promoId"),
        )
    context.services.announcer.announce(topics)
    return entry_id
