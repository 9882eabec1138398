"""Specifications: what one may say, and its way to JSON and back."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.attendance.spec import ATTENDANCE_SPEC
from ml.features import Direction, Feature, FeatureType, InvalidSpec, check_spec
from ml.spec_json import from_json, to_json
from tests.ml.made import SPEC, feature

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("spec", [SPEC, ATTENDANCE_SPEC])
def test_a_specification_survives_json(spec: tuple[Feature, ...]) -> None:
    assert from_json(json.loads(json.dumps(to_json(spec)))) == spec


def test_the_attendance_model_has_the_14_inputs_of_its_source() -> None:
    assert [feature.name for feature in ATTENDANCE_SPEC] == [
        "email",
        "age",
        "country",
        "city",
        "account_age_days",
        "purchases_last_12_months",
        "canceled_orders",
        "tickets_per_order_avg",
        "distance_to_venue_km",
        "payment_failures_ratio",
        "event_affinity_score",
        "night_purchase_ratio",
        "resale_reports_count",
        "attendance_rate",
    ]
    assert all(feature.description and feature.required for feature in ATTENDANCE_SPEC)


def test_age_and_origin_are_never_modelled() -> None:
    unseen = {feature.name for feature in ATTENDANCE_SPEC if not feature.modelled}
    assert unseen == {"age", "country", "city"}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"name": "1x"}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"minimum": 2, "maximum": 1}, "minimum"),
        ({"maximum": float("inf")}, "maximum"),
        ({"kind": "STRING", "minimum": 0}, "minimum"),
        ({"choices": ("a",)}, "choices"),
        ({"kind": "STRING", "choices": ("a", "a")}, "choices"),
        ({"kind": "STRING", "choices": ("",)}, "choices"),
        ({"kind": "STRING", "choices": tuple(map(str, range(201)))}, "choices"),
        ({"default": "seven"}, "default"),
        ({"default": 7, "maximum": 5}, "default"),
        ({"kind": "STRING", "choices": ("a",), "default": "b"}, "default"),
    ],
)
def test_a_definition_that_contradicts_itself_is_refused(fields: Any, where: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        feature(**fields)
    assert caught.value.field == where


def test_a_name_stands_once() -> None:
    with pytest.raises(InvalidSpec, match="x is there twice"):
        check_spec([feature(), feature()])


def test_a_model_has_features() -> None:
    with pytest.raises(InvalidSpec, match="1 to 200"):
        check_spec([])


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        {},
        [1],
        [{}],
        [{"name": "x"}],
        [{"name": "x", "type": "DATE"}],
        [{"name": "x", "type": ["FLOAT"]}],
        [{"name": "x", "type": "FLOAT", "required": "yes"}],
        [{"name": "x", "type": "FLOAT", "minimum": "0"}],
        [{"name": "x", "type": "FLOAT", "minimum": 10**400}],
        [{"name": "x", "type": "STRING", "choices": [1]}],
        [{"name": "x", "type": "STRING", "default": {}}],
        [{"name": "x", "type": "FLOAT", "surprise": 1}],
        [{"name": "x", "type": "FLOAT"}] * 201,
    ],
)
def test_json_that_is_no_specification_is_refused(value: Any) -> None:
    with pytest.raises(InvalidSpec):
        from_json(value)


@given(value=st.lists(st.dictionaries(st.sampled_from(list(to_json(SPEC)[0])), JSON), max_size=3))
@settings(max_examples=150)
def test_hostile_json_is_refused_or_read_and_never_a_fault(value: Any) -> None:
    try:
        spec = from_json(value)
    except InvalidSpec:
        return
    assert from_json(to_json(spec)) == spec


def test_defaults_are_those_of_the_schema() -> None:
    [read] = from_json([{"name": "x", "type": "INT"}])
    assert read == Feature("x", FeatureType.INT, required=True, direction=Direction.ANY)
    assert not read.actionable
