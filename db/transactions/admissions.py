"""Scored admission: what a promo does with a score, and the record of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import ModelVersion, Prediction
from db.models.jobs import JobStatus
from db.models.predictions import AdmissionDecision, PredictionKind

SECOND_BAND = 0
"""Priority of those whom the model would rather have wait."""


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
    decision: AdmissionDecision,
    scored: Scored,
    now: datetime,
) -> UUID:
    """Keeps what was decided and why, whatever becomes of the request."""
    version_id = await session.scalar(
        select(ModelVersion.id).where(
            ModelVersion.model_id == model_id, ModelVersion.version == scored.version
        )
    )
    prediction_id = uuid4()
    session.add(
        Prediction(
            id=prediction_id,
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
    )
    await session.flush()
    return prediction_id
