"""The feature specification of a model: the only source for validation, column order,
GraphQL inputs and documentation.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from ml.formats import format_problem

FeatureValue: TypeAlias = float | int | str | bool | None

MAX_FEATURES = 200
MAX_CHOICES = 200
MAX_STRING_LENGTH = 256
MAX_PROBLEMS = 50
# Beyond 2**53 a double no longer holds every whole number: a client would read back another one.
MAX_MAGNITUDE = 2.0**53
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_SHOWN_LENGTH = 64


class FeatureType(StrEnum):
    FLOAT = "FLOAT"
    INT = "INT"
    STRING = "STRING"
    BOOLEAN = "BOOLEAN"


class Direction(StrEnum):
    """The way a person can move an actionable feature."""

    UP = "UP"
    DOWN = "DOWN"
    ANY = "ANY"


class Format(StrEnum):
    EMAIL = "email"
    COUNTRY = "country"


class ProblemCode(StrEnum):
    MISSING_FEATURE = "MISSING_FEATURE"
    UNKNOWN_FEATURE = "UNKNOWN_FEATURE"
    INVALID = "INVALID"
    OUT_OF_RANGE = "OUT_OF_RANGE"


class InvalidSpec(ValueError):
    """A specification that no model can have; `feature` and `field` say where."""

    def __init__(self, message: str, *, feature: str | None = None, field: str | None = None):
        super().__init__(message)
        self.feature = feature
        self.field = field


@dataclass(frozen=True, slots=True)
class FeatureProblem:
    code: ProblemCode
    feature: str
    message: str


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of a model. Limits are inclusive.

    `modelled` False: accepted and validated, and never seen by the model.
    Raises InvalidSpec on a definition that contradicts itself.
    """

    name: str
    type: FeatureType
    required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    default: FeatureValue = None
    choices: tuple[str, ...] = ()
    actionable: bool = False
    direction: Direction = Direction.ANY
    description: str = ""
    format: Format | None = None
    modelled: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidSpec(
                f"feature name {shown(self.name)!r} must start with a letter and have at most "
                "64 letters, digits, '_', '.' or '-'",
                feature=shown(self.name),
                field="name",
            )
        self._check_limits()
        self._check_strings()
        if self.default is not None and (problem := check_value(self, self.default)):
            raise self._invalid("default", f"default: {problem.message}")

    @property
    def is_numeric(self) -> bool:
        return self.type in (FeatureType.FLOAT, FeatureType.INT)

    def _invalid(self, field: str, message: str) -> InvalidSpec:
        return InvalidSpec(message, feature=self.name, field=field)

    def _check_limits(self) -> None:
        for field, limit in (("minimum", self.minimum), ("maximum", self.maximum)):
            if limit is None:
                continue
            if not self.is_numeric:
                raise self._invalid(field, f"{self.name}: only numbers have a {field}")
            if not math.isfinite(limit):
                raise self._invalid(field, f"{self.name}: {field} must be a finite number")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise self._invalid("minimum", f"{self.name}: minimum is above maximum")

    def _check_strings(self) -> None:
        if self.type is not FeatureType.STRING:
            if self.choices or self.format:
                raise self._invalid("choices", f"{self.name}: only strings have choices or format")
            return
        if len(self.choices) > MAX_CHOICES:
            raise self._invalid("choices", f"{self.name}: at most {MAX_CHOICES} choices")
        if len(set(self.choices)) != len(self.choices):
            raise self._invalid("choices", f"{self.name}: choices must differ from each other")
        if any(not 0 < len(choice) <= MAX_STRING_LENGTH for choice in self.choices):
            raise self._invalid(
                "choices", f"{self.name}: a choice has 1 to {MAX_STRING_LENGTH} characters"
            )


Spec: TypeAlias = tuple[Feature, ...]


def check_spec(features: Sequence[Feature]) -> Spec:
    """The features as a specification. Raises InvalidSpec: too many, none, or a name twice."""
    if not 1 <= len(features) <= MAX_FEATURES:
        raise InvalidSpec(f"a model has 1 to {MAX_FEATURES} features, got {len(features)}")
    seen: set[str] = set()
    for feature in features:
        if feature.name in seen:
            raise InvalidSpec(f"{feature.name} is there twice", feature=feature.name, field="name")
        seen.add(feature.name)
    return tuple(features)


def check_features(spec: Spec, payload: Mapping[str, object]) -> list[FeatureProblem]:
    """Everything wrong with a payload, in spec order, unknown names last.

    Linear in the payload; at most MAX_PROBLEMS are reported. A null counts as missing.
    """
    problems: list[FeatureProblem] = []
    for feature in spec:
        value = payload.get(feature.name)
        if value is None:
            problem = _missing(feature) if feature.required else None
        else:
            problem = check_value(feature, value)
        if problem is not None:
            problems.append(problem)
    problems += _unknown(spec, payload)
    return problems[:MAX_PROBLEMS]


def check_value(feature: Feature, value: object) -> FeatureProblem | None:
    """What is wrong with one value that is not null."""
    match feature.type:
        case FeatureType.BOOLEAN:
            return None if isinstance(value, bool) else _invalid(feature, "must be true or false")
        case FeatureType.STRING:
            return _check_string(feature, value)
        case _:
            return _check_number(feature, value)


def shown(text: str) -> str:
    """A stranger's text, short enough for a message or a log line."""
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def _missing(feature: Feature) -> FeatureProblem:
    return FeatureProblem(
        ProblemCode.MISSING_FEATURE, feature.name, f"{feature.name} is required and missing"
    )


def _unknown(spec: Spec, payload: Mapping[str, object]) -> list[FeatureProblem]:
    names = {feature.name for feature in spec}
    problems: list[FeatureProblem] = []
    for name in payload:
        if name in names:
            continue
        label = shown(str(name))
        problems.append(
            FeatureProblem(
                ProblemCode.UNKNOWN_FEATURE, label, f"{label} is not a feature of this model"
            )
        )
        if len(problems) == MAX_PROBLEMS:
            break
    return problems


def _invalid(feature: Feature, message: str) -> FeatureProblem:
    return FeatureProblem(ProblemCode.INVALID, feature.name, f"{feature.name} {message}")


def _check_string(feature: Feature, value: object) -> FeatureProblem | None:
    if not isinstance(value, str):
        return _invalid(feature, "must be a string")
    if not value.strip():
        return _invalid(feature, "must not be empty")
    if len(value) > MAX_STRING_LENGTH:
        return _invalid(feature, f"must have at most {MAX_STRING_LENGTH} characters")
    if feature.choices and value not in feature.choices:
        allowed = shown(", ".join(feature.choices))
        return _invalid(feature, f"must be one of {allowed}, got {shown(value)!r}")
    if feature.format is not None and (problem := format_problem(feature.format, value)):
        return _invalid(feature, problem)
    return None


def _check_number(feature: Feature, value: object) -> FeatureProblem | None:
    # bool is a subclass of int in Python: `true` is no age.
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = "a whole number" if feature.type is FeatureType.INT else "a number"
        return _invalid(feature, f"must be {kind}")
    if isinstance(value, float) and not math.isfinite(value):
        return _invalid(feature, "must be a finite number")
    if feature.type is FeatureType.INT and isinstance(value, float) and not value.is_integer():
        return _invalid(feature, f"must be a whole number, got {value:g}")
    low = -MAX_MAGNITUDE if feature.minimum is None else feature.minimum
    high = MAX_MAGNITUDE if feature.maximum is None else feature.maximum
    if low <= value <= high:
        return None
    return FeatureProblem(
        ProblemCode.OUT_OF_RANGE,
        feature.name,
        f"{feature.name} must be {_range(feature, low, high)}, got {_number(value)}",
    )


def _range(feature: Feature, low: float, high: float) -> str:
    if feature.maximum is None and feature.minimum is not None and high == MAX_MAGNITUDE:
        return f"at least {_number(low)} and at most 2^53"
    return f"between {_number(low)} and {_number(high)}"


def _number(value: float) -> str:
    # An int of a million digits takes seconds to print, and Python refuses past 4,300.
    if isinstance(value, int) and abs(value) > 10**18:
        return "a number beyond 10^18"
    return f"{value:.15g}"
