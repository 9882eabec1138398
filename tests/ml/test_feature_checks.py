"""Payloads against a specification (checklist Q21-Q35, U69)."""

import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.attendance.spec import ATTENDANCE_SPEC, EXAMPLE_ATTENDEE
from ml.features import (
    MAX_PROBLEMS,
    FeatureProblem,
    FeatureType,
    Format,
    ProblemCode,
    check_features,
)
from tests.ml.made import feature

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def the_problem(value: Any, kind: str = "FLOAT", **fields: Any) -> FeatureProblem | None:
    problems = check_features((feature(kind, **fields),), {"x": value})
    assert len(problems) <= 1
    return problems[0] if problems else None


def code_of(value: Any, kind: str = "FLOAT", **fields: Any) -> str | None:
    problem = the_problem(value, kind, **fields)
    return problem.code.value if problem else None


def test_the_example_of_the_source_has_no_problem() -> None:
    assert check_features(ATTENDANCE_SPEC, EXAMPLE_ATTENDEE) == []


@pytest.mark.parametrize("name", [feature.name for feature in ATTENDANCE_SPEC])
def test_each_of_the_14_inputs_is_required(name: str) -> None:
    payload = {key: value for key, value in EXAMPLE_ATTENDEE.items() if key != name}
    [problem] = check_features(ATTENDANCE_SPEC, payload)
    assert (problem.code, problem.feature) == (ProblemCode.MISSING_FEATURE, name)
    assert name in problem.message


def test_a_null_counts_as_missing() -> None:
    assert code_of(None) == "MISSING_FEATURE"
    assert code_of(None, required=False) is None


def test_a_number_out_of_range_is_named_with_its_limits_and_its_value() -> None:
    [problem] = check_features(ATTENDANCE_SPEC, {**EXAMPLE_ATTENDEE, "age": 140})
    assert problem.code is ProblemCode.OUT_OF_RANGE
    assert problem.message == "age must be between 0 and 120, got 140"


@pytest.mark.parametrize("value", [0, 0.0, 1, 0.5])
def test_limits_are_inclusive(value: float) -> None:
    assert code_of(value, minimum=0, maximum=1) is None


@pytest.mark.parametrize("value", [-0.001, 1.001])
def test_a_value_beyond_a_limit_is_out_of_range(value: float) -> None:
    assert code_of(value, minimum=0, maximum=1) == "OUT_OF_RANGE"


def test_a_feature_with_one_limit_names_it() -> None:
    problem = the_problem(-3, "INT", minimum=0)
    assert problem is not None
    assert "at least 0" in problem.message
    assert code_of(2**60, "INT", minimum=0) == "OUT_OF_RANGE"


@pytest.mark.parametrize("kind", ["INT", "FLOAT"])
@pytest.mark.parametrize("value", [True, False, "3", [], {}, math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_invalid(kind: str, value: Any) -> None:
    assert code_of(value, kind) == "INVALID"


def test_an_integer_is_a_float_and_a_fraction_is_no_integer() -> None:
    assert code_of(3, "FLOAT") is None
    assert code_of(3.0, "INT") is None
    assert code_of(3.5, "INT") == "INVALID"


def test_an_integer_of_a_million_digits_is_refused_at_once() -> None:
    started = time.perf_counter()
    assert code_of(10**1_000_000, "FLOAT") == "OUT_OF_RANGE"
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("value", [1, 0, "true", 1.0])
def test_a_boolean_is_true_or_false_and_nothing_else(value: Any) -> None:
    assert code_of(value, "BOOLEAN") == "INVALID"
    assert code_of(True, "BOOLEAN") is None


def test_a_string_has_a_length() -> None:
    assert code_of("a" * 256, "STRING") is None
    assert code_of("a" * 257, "STRING") == "INVALID"
    assert code_of("  ", "STRING") == "INVALID"
    assert code_of(5, "STRING") == "INVALID"


def test_a_choice_is_one_of_the_choices() -> None:
    assert code_of("red", "STRING", choices=("red", "blue")) is None
    problem = the_problem("green", "STRING", choices=("red", "blue"))
    assert problem is not None
    assert problem.code is ProblemCode.INVALID
    assert problem.message == "x must be one of red, blue, got 'green'"


def test_a_format_is_checked() -> None:
    assert code_of("maria.perez@example.com", "STRING", format=Format.EMAIL) is None
    assert code_of("maria", "STRING", format=Format.EMAIL) == "INVALID"
    assert code_of("CL", "STRING", format=Format.COUNTRY) is None
    assert code_of("XX", "STRING", format=Format.COUNTRY) == "INVALID"


def test_an_unknown_feature_is_named_shortened() -> None:
    [problem] = check_features((feature(required=False),), {"y" * 10_000: 1})
    assert problem.code is ProblemCode.UNKNOWN_FEATURE
    assert len(problem.message) < 200


def test_a_payload_of_a_hundred_thousand_unknown_names_is_answered_shortly() -> None:
    hostile = {f"name{number}": number for number in range(100_000)}
    started = time.perf_counter()
    problems = check_features((feature(),), hostile)
    assert len(problems) == MAX_PROBLEMS
    assert time.perf_counter() - started < 1


def test_every_problem_of_a_payload_is_reported_in_the_order_of_the_specification() -> None:
    payload = {**EXAMPLE_ATTENDEE, "attendance_rate": 2, "age": -1, "shoe_size": 40}
    del payload["email"]
    problems = check_features(ATTENDANCE_SPEC, payload)
    assert [(problem.code.value, problem.feature) for problem in problems] == [
        ("MISSING_FEATURE", "email"),
        ("OUT_OF_RANGE", "age"),
        ("OUT_OF_RANGE", "attendance_rate"),
        ("UNKNOWN_FEATURE", "shoe_size"),
    ]


@given(kind=st.sampled_from(FeatureType), value=ANYTHING)
@settings(max_examples=150)
def test_whatever_comes_it_is_an_answer_and_never_a_fault(kind: FeatureType, value: Any) -> None:
    problem = the_problem(value, kind.value, required=False)
    if problem is not None:
        assert problem.code in {ProblemCode.INVALID, ProblemCode.OUT_OF_RANGE}
        assert "x" in problem.message
