"""A feature specification as plain JSON values, for a jsonb column or an artifact."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from ml.features import (
    MAX_CHOICES,
    MAX_FEATURES,
    Direction,
    Feature,
    FeatureType,
    FeatureValue,
    Format,
    InvalidSpec,
    Spec,
    check_spec,
    shown,
)

_KEYS = tuple(Feature.__dataclass_fields__)
_MAX_DESCRIPTION = 2_000
_Member = TypeVar("_Member", bound=StrEnum)


def to_json(spec: Spec) -> list[dict[str, object]]:
    """Feature by feature; from_json gives the same spec back."""
    return [_feature_to_json(feature) for feature in spec]


def _feature_to_json(feature: Feature) -> dict[str, object]:
    return {
        "name": feature.name,
        "type": feature.type.value,
        "required": feature.required,
        "minimum": feature.minimum,
        "maximum": feature.maximum,
        "default": feature.default,
        "choices": list(feature.choices),
        "actionable": feature.actionable,
        "direction": feature.direction.value,
        "description": feature.description,
        "format": feature.format.value if feature.format else None,
        "modelled": feature.modelled,
    }


def from_json(value: object) -> Spec:
    """The specification in a parsed JSON value. Raises InvalidSpec on anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise InvalidSpec("a feature specification is a list")
    if len(value) > MAX_FEATURES:
        raise InvalidSpec(f"a model has at most {MAX_FEATURES} features, got {len(value)}")
    return check_spec([_feature_from_json(item) for item in value])


def _feature_from_json(item: object) -> Feature:
    if not isinstance(item, Mapping):
        raise InvalidSpec("a feature is an object")
    for key in item:
        if key not in _KEYS:
            raise InvalidSpec(f"a feature has no {shown(str(key))}", field=shown(str(key)))
    reader = _Reader(item)
    return Feature(
        name=reader.name,
        type=reader.member("type", FeatureType, None),
        required=reader.flag("required", True),
        minimum=reader.number("minimum"),
        maximum=reader.number("maximum"),
        default=reader.default(),
        choices=reader.choices(),
        actionable=reader.flag("actionable", False),
        direction=reader.member("direction", Direction, Direction.ANY),
        description=reader.text("description", ""),
        format=None if item.get("format") is None else reader.member("format", Format, None),
        modelled=reader.flag("modelled", True),
    )


class _Reader:
    def __init__(self, item: Mapping[str, object]):
        self._item = item
        self.name = ""
        self.name = self.text("name", None)

    def _invalid(self, field: str, expected: str) -> InvalidSpec:
        message = f"{shown(self.name) or 'feature'}: {field} must be {expected}"
        return InvalidSpec(message, feature=shown(self.name) or None, field=field)

    def text(self, field: str, default: str | None) -> str:
        value = self._item.get(field, default)
        if not isinstance(value, str) or len(value) > _MAX_DESCRIPTION:
            raise self._invalid(field, f"a string of at most {_MAX_DESCRIPTION} characters")
        return value

    def flag(self, field: str, default: bool) -> bool:
        value = self._item.get(field, default)
        if not isinstance(value, bool):
            raise self._invalid(field, "true or false")
        return value

    def number(self, field: str) -> float | None:
        value = self._item.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._invalid(field, "a number")
        try:
            return float(value)
        except OverflowError:
            raise self._invalid(field, "a number that a double can hold") from None

    def member(self, field: str, kind: type[_Member], default: _Member | None) -> _Member:
        value = self._item.get(field, default)
        for member in kind:
            if isinstance(value, str) and member.value == value:
                return member
        raise self._invalid(field, f"one of {', '.join(kind)}")

    def choices(self) -> tuple[str, ...]:
        value = self._item.get("choices", ())
        if not isinstance(value, list | tuple) or len(value) > MAX_CHOICES:
            raise self._invalid("choices", f"a list of at most {MAX_CHOICES} strings")
        if not all(isinstance(choice, str) for choice in value):
            raise self._invalid("choices", f"a list of at most {MAX_CHOICES} strings")
        return tuple(value)

    def default(self) -> FeatureValue:
        value = self._item.get("default")
        if value is not None and not isinstance(value, str | int | float | bool):
            raise self._invalid("default", "a string, a number, true or false")
        return value
