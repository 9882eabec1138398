"""Answers of models that were kept."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Self, cast
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from db.models.jobs import JobStatus as JobStatusName
from db.models.predictions import PredictionKind as PredictionKindName
from db.queries.accounts import users_by_id
from db.queries.admissions import PredictionRow
from db.queries.models import models_by_id
from ml.scoring import Impact, Scorer, decide_risk
from schema.accounts import User, is_self_or_admin
from schema.attendance import AttendeeScore
from schema.edge.context import Context, Info
from schema.edge.fields import link
from schema.edge.ids import global_id
from schema.edge.loaders import load
from schema.edge.nodes import Node
from schema.features import FeatureImpact
from schema.models import JobStatus, Model

PredictionKind = strawberry.enum(
    PredictionKindName, name="PredictionKind", description="What was predicted, and for whom."
)
PredictionResult = Annotated[
    AttendeeScore, strawberry.union("PredictionResult", description="What a model answered.")
]

TRIMMED = (
    "For the person it is about and ADMIN as it was; for others without the e-mail address and "
    "with distance_to_venue_km in whole kilometres."
)


@strawberry.type(description="An answer of a model that was kept, with what went in.")
class Prediction(Node):
    uuid: UUID = strawberry.field(description="Its primary key.")
    kind: PredictionKind = strawberry.field(  # type: ignore[valid-type]
        description="ATTENDANCE: an admission to a promo."
    )
    status: JobStatus = strawberry.field(description="Where it is.")  # type: ignore[valid-type]
    version: str = strawberry.field(description="The version that answered; 'mock' for none.")
    is_mock: bool = strawberry.field(description="True: no model answered, the score is 0.5.")
    error: str | None = strawberry.field(description="Why there is no result.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    finished_at: datetime | None = strawberry.field(description="When it was answered.")
    row: strawberry.Private[PredictionRow]

    @classmethod
    def of(cls, row: PredictionRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("Prediction", row.id)),
            uuid=row.id,
            kind=PredictionKindName(row.kind),
            status=JobStatusName(row.status),
            version=row.version,
            is_mock=row.is_mock,
            error=row.error,
            created_at=row.created_at,
            finished_at=row.finished_at,
            row=row,
        )

    @link(description=f"What went in, by feature. {TRIMMED}", personal=True)
    async def input(self, info: Info) -> JSON:
        return cast(JSON, (await _shown(self.row, info.context)).input)

    @link(
        description="How far each feature moved the answer, in log-odds, largest first. "
        f"The values are those of input. {TRIMMED}",
        personal=True,
    )
    async def explain(self, info: Info) -> list[FeatureImpact]:
        shown = await _shown(self.row, info.context)
        return [FeatureImpact(**impact) for impact in shown.explain or ()]

    @link(description="The model that was asked.")
    async def model(self, info: Info) -> Model:
        row = await load(info.context, models_by_id, self.row.model_id)
        if row is None:
            raise LookupError(f"prediction {self.uuid} has no model")
        return Model.of(row)

    @link(description="Whom it is about.")
    async def user(self, info: Info) -> User:
        row = await load(info.context, users_by_id, self.row.user_id)
        if row is None:
            raise LookupError(f"prediction {self.uuid} has no user")
        return User.of(row)

    @link(description="The answer; null until SUCCEEDED.", personal=True)
    async def result(self, info: Info) -> PredictionResult | None:
        if self.row.output is None:
            return None
        return _score(await _shown(self.row, info.context), info.context)


def trimmed(feature: str, value: Any) -> Any:
    """What others than the person may read of a value: neither an address nor where home is."""
    if feature == "email":
        return None
    if feature == "distance_to_venue_km" and value is not None:
        return round(value)
    return value


async def _shown(row: PredictionRow, context: Context) -> PredictionRow:
    """The row with what the caller may read of the input and of the reasons."""
    if await is_self_or_admin(context, row.user_id):
        return row
    return replace(
        row,
        input={name: trimmed(name, value) for name, value in row.input.items() if name != "email"},
        explain=[
            {**impact, "value": trimmed(impact["feature"], impact["value"])}
            for impact in row.explain or ()
        ],
    )


class KeptScorer:
    """Explains a kept answer by what was kept with it."""

    def __init__(self, row: PredictionRow) -> None:
        self.row = row

    def explain_one(self, payload: Any) -> list[Impact]:
        return [Impact(**impact) for impact in self.row.explain or ()]


def _score(row: PredictionRow, context: Context) -> AttendeeScore:
    """The kept answer: its version may serve no longer, so nothing of it is computed again."""
    output: dict[str, Any] = row.output or {}
    decision = decide_risk(output["attendance_probability"], context.policy.attendee_threshold)
    return AttendeeScore(
        attendance_probability=decision.attendance_probability,
        reseller_probability=decision.reseller_probability,
        risk_label=decision.label,
        model_version=row.version,
        is_mock=row.is_mock,
        scorer=cast(Scorer, KeptScorer(row)),
        payload=row.input,
    )
