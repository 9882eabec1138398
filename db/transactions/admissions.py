"""Scored admission: what a promo does with a score, and the record of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import ModelVersion, Prediction
from db.models.jobs import JobStatus
from db.models.predictions import AdmissionDecision, PredictionKind
from db.transactions.waitlists import turn_away


def decide_admission(
    probability: float, admit_above: float, deny_below: float
) -> AdmissionDecision:
    """ADMIT from `admit_above` on, DENY below `deny_below` (0: nobody), the band between waits."""
    if probability >= admit_above:
        return AdmissionDecision.ADMIT
    return AdmissionDecision.DENY if probability < deny_below else AdmissionDecision.WAITLIST


@dataclass(frozen=True)
class Scored:
    """An answer of a model, as it is kept: `output` and `explain` are JSON."""

    version: str
    is_mock: bool
    input: dict[str, Any]
    output: dict[str, Any]
    explain: list[dict[str, Any]]


async def record_admission(
    session: AsyncSession,
    *,
    model_id: int,
    promo_id: int,
    user_id: UUID,
    scored: Scored,
    decision: AdmissionDecision,
    now: datetime,
) -> tuple[UUID, dict[str, Any]]:
    """Keeps a person's score for this promo: its id and output, of the first one if two race."""
    version_id = await session.scalar(
        select(ModelVersion.id).where(
            ModelVersion.model_id == model_id, ModelVersion.version == scored.version
        )
    )
    await session.execute(
        insert(Prediction)
        .values(
            id=uuid4(),
            user_id=user_id,
            kind=PredictionKind.ATTENDANCE,
            status=JobStatus.SUCCEEDED,
            model_id=model_id,
            version_id=version_id,
            version=scored.version,
            input=scored.input,
            output=scored.output,
            explain=scored.explain,
            is_mock=scored.is_mock,
            promo_id=promo_id,
            decision=decision,
            created_at=now,
            finished_at=now,
        )
        .on_conflict_do_nothing()
    )
    kept = await session.execute(
        select(Prediction.id, Prediction.output).where(
            Prediction.promo_id == promo_id, Prediction.user_id == user_id
        )
    )
    score_id, output = kept.one()
    return score_id, output or {}


async def settle_admission(
    session: AsyncSession,
    *,
    promo_id: int,
    user_id: UUID,
    decision: AdmissionDecision,
    now: datetime,
) -> None:
    """Keeps what a score comes to under the present terms. Who is denied waits no longer."""
    await session.execute(
        update(Prediction)
        .where(
            Prediction.promo_id == promo_id,
            Prediction.user_id == user_id,
            Prediction.decision != decision,
        )
        .values(decision=decision)
    )
    if decision is AdmissionDecision.DENY:
        await turn_away(session, user_id, promo_id, now)
