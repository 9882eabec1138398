"""What goes into a model, and how far each part of it moved the answer."""

from typing import Any, Self

import strawberry
from strawberry.scalars import JSON

from ml.features import Direction
from ml.features import FeatureType as FeatureTypeName

FeatureType = strawberry.enum(FeatureTypeName, name="FeatureType", description="Type of a feature.")
PreferredDirection = strawberry.enum(
    Direction, name="PreferredDirection", description="The way a person can move a feature."
)


@strawberry.type(description="What a model knows about one of its inputs.")
class FeatureSpec:
    name: str = strawberry.field(description="Key in the input map; also the CSV column.")
    type: FeatureType = strawberry.field(description="Type of the value.")  # type: ignore[valid-type]
    required: bool = strawberry.field(description="Whether the input must have it.")
    min: float | None = strawberry.field(description="Smallest value accepted.")
    max: float | None = strawberry.field(description="Largest value accepted.")
    default: JSON | None = strawberry.field(description="Taken where it is missing.")
    choices: list[str] | None = strawberry.field(description="The only values accepted.")
    actionable: bool = strawberry.field(description="A what-if or a counterfactual may move it.")
    direction: PreferredDirection = strawberry.field(  # type: ignore[valid-type]
        description="The way a person can move it."
    )
    description: str | None = strawberry.field(description="What it means, with its unit.")

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Self:
        return cls(
            name=spec["name"],
            type=FeatureTypeName(spec["type"]),
            required=spec["required"],
            min=spec.get("minimum"),
            max=spec.get("maximum"),
            default=spec.get("default"),
            choices=list(spec["choices"]) if spec.get("choices") else None,
            actionable=spec["actionable"],
            direction=Direction(spec["direction"]),
            description=spec.get("description"),
        )


@strawberry.type(description="How far a feature moved an answer.")
class FeatureImpact:
    feature: str = strawberry.field(description="Name of the feature (Model.features).")
    impact: float = strawberry.field(
        description="Signed, in log-odds. The impacts and the model's base value sum to the "
        "log-odds of the score."
    )
    value: JSON | None = strawberry.field(description="The value it had.")
