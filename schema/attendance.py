"""Who in the ticket queue really comes: the input, made from the specification, and the score."""

import asyncio
from typing import Any, Self, cast

import strawberry
from strawberry.dataloader import DataLoader
from strawberry.scalars import JSON

from db.models.accounts import Role
from ml.attendance.spec import ATTENDANCE_SPEC
from ml.features import Feature, FeatureType
from ml.scoring import Impact, Scorer, decide_risk
from ml.scoring import RiskLabel as RiskLabelName
from schema.edge.context import Context, Info
from schema.edge.fields import PUBLIC, query
from schema.features import FeatureImpact

PYTHON_TYPES: dict[FeatureType, Any] = {
    FeatureType.FLOAT: float,
    FeatureType.INT: int,
    FeatureType.STRING: str,
    FeatureType.BOOLEAN: bool,
}
EXPLAINED_TO = {Role.MERCHANT, Role.ADMIN}

RiskLabel = strawberry.enum(
    RiskLabelName, name="RiskLabel", description="What the attendee most probably is."
)


def described(feature: Feature) -> str:
    """As a person in GraphiQL reads it; descriptions name an upper limit themselves."""
    if feature.minimum is None or feature.maximum is not None:
        return feature.description
    return f"{feature.description} At least {feature.minimum:g}."


def input_type(name: str, description: str, spec: tuple[Feature, ...]) -> Any:
    """An input type with a field a feature: the specification is the only place that names them."""
    made = type(
        name,
        (),
        {
            "__doc__": description,
            "__annotations__": {feature.name: PYTHON_TYPES[feature.type] for feature in spec},
            **{feature.name: strawberry.field(description=described(feature)) for feature in spec},
        },
    )
    return strawberry.input(made, description=description)


AttendeeInput = input_type(
    "AttendeeInput", "What is known of somebody in the ticket queue.", ATTENDANCE_SPEC
)


def payload_of(attendee: Any) -> dict[str, Any]:
    """The input as the model takes it: by feature name."""
    return {feature.name: getattr(attendee, feature.name) for feature in ATTENDANCE_SPEC}


@strawberry.type(description="attendanceProbability + resellerProbability = 1.")
class AttendeeScore:
    attendance_probability: float = strawberry.field(description="Probability of really coming.")
    reseller_probability: float = strawberry.field(description="Probability of reselling.")
    risk_label: RiskLabel = strawberry.field(  # type: ignore[valid-type]
        description="RESELLER from a reseller probability of ATTENDEE_THRESHOLD (0.5) on."
    )
    model_version: str = strawberry.field(description="The version that answered.")
    is_mock: bool = strawberry.field(description="True: no model answered, the score is 0.5.")
    scorer: strawberry.Private[Scorer]
    payload: strawberry.Private[dict[str, Any]]

    @classmethod
    def of(
        cls, scorer: Scorer, payload: dict[str, Any], probability: float, threshold: float
    ) -> Self:
        decision = decide_risk(probability, threshold)
        return cls(
            attendance_probability=decision.attendance_probability,
            reseller_probability=decision.reseller_probability,
            risk_label=decision.label,
            model_version=scorer.version,
            is_mock=scorer.is_mock,
            scorer=scorer,
            payload=payload,
        )

    @query(
        access=PUBLIC,
        cost=5,
        description="How far each feature moved the score, largest first; null unless the caller "
        "is MERCHANT or ADMIN: an open explanation teaches resellers.",
    )
    async def explain(self, info: Info) -> list[FeatureImpact] | None:
        viewer = await info.context.known_viewer()
        if viewer is None or viewer.role not in EXPLAINED_TO:
            return None
        impacts = await _explained_together(info.context).load(self)
        return [
            FeatureImpact(feature=i.feature, impact=i.impact, value=cast(JSON, i.value))
            for i in impacts
        ]


def _explained_together(context: Context) -> DataLoader[AttendeeScore, list[Impact]]:
    """One thread explains all the scores of a request, so that other requests go on meanwhile:
    an explanation takes milliseconds, and a list has up to 500."""

    def explain(scores: list[AttendeeScore]) -> list[list[Impact]]:
        return [score.scorer.explain_one(score.payload) for score in scores]

    async def load(scores: list[AttendeeScore]) -> list[list[Impact]]:
        return await asyncio.to_thread(explain, scores)

    if "explain" not in context.loaders:
        context.loaders["explain"] = DataLoader(load_fn=load, cache=False)
    loader: DataLoader[AttendeeScore, list[Impact]] = context.loaders["explain"]
    return loader
