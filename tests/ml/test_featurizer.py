"""Payloads and tables to numbers (checklist U13, U46, U67, U68)."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.features import Format, check_spec
from ml.featurizer import Featurizer, email_pattern, learn_vocabularies, to_feature_vector
from tests.ml.made import PAYLOAD, SPEC, feature, make_table

TOWNS = {"town": ("Lima", "Quito")}


@given(seed=st.integers(0, 10_000))
def test_the_vector_follows_the_specification_whatever_the_order_of_the_keys(seed: int) -> None:
    items = list(PAYLOAD.items())
    Random(seed).shuffle(items)
    vector = to_feature_vector(dict(items), SPEC, TOWNS)
    assert vector.tolist() == [12.5, 3.0, 1.0, 2.0, 0.0]


def test_types_are_kept_as_numbers() -> None:
    vector = to_feature_vector(PAYLOAD, SPEC, TOWNS)
    assert vector.dtype == np.float64
    assert vector.shape == (5,)


def test_what_is_missing_takes_its_default_or_is_nan() -> None:
    vector = to_feature_vector({"absences": None}, SPEC, TOWNS)
    assert vector[1] == 2.0
    assert all(math.isnan(vector[place]) for place in (0, 2, 3, 4))


def test_a_feature_that_is_not_modelled_has_no_column() -> None:
    assert [feature.name for feature in Featurizer(SPEC).features] == [
        "hours-per-week",
        "absences",
        "repeats",
        "colour",
        "town",
    ]
    changed = {**PAYLOAD, "nickname": "another"}
    first, second = (to_feature_vector(p, SPEC, TOWNS) for p in (PAYLOAD, changed))
    assert first.tolist() == second.tolist()


def test_a_word_that_training_did_not_see_shares_the_code_of_the_rare() -> None:
    vector = to_feature_vector({**PAYLOAD, "town": "Arica"}, SPEC, TOWNS)
    assert vector[4] == 2.0


def test_prediction_and_training_see_the_same_numbers() -> None:
    table = make_table(200)
    featurizer = Featurizer(SPEC, learn_vocabularies(SPEC, table.columns))
    by_column = featurizer.matrix_of_columns(table.columns)
    names = list(table.columns)
    rows = zip(*(table.columns[name].tolist() for name in names), strict=True)
    payloads = [
        {n: v for n, v in zip(names, row, strict=True) if v is not None and v == v}  # noqa: PLR0124
        for row in rows
    ]
    np.testing.assert_array_equal(featurizer.matrix(payloads), by_column)
    for payload, expected in zip(payloads[:20], by_column, strict=False):
        np.testing.assert_array_equal(featurizer.vector(payload), expected)


def test_a_vocabulary_keeps_the_frequent_words_in_order_of_frequency() -> None:
    words = ["b"] * 30 + ["a"] * 50 + ["c"] * 30 + ["rare"] * 5 + [None]
    learned = learn_vocabularies(
        (feature("STRING", "word", required=False),), {"word": np.array(words, dtype=object)}
    )
    assert learned == {"word": ("a", "b", "c")}


def test_no_rows_make_an_empty_matrix() -> None:
    assert Featurizer(SPEC, TOWNS).matrix([]).shape == (0, 5)


def test_a_table_without_a_modelled_column_is_refused() -> None:
    with pytest.raises(KeyError, match="town"):
        Featurizer(SPEC).matrix_of_columns(
            {k: v for k, v in make_table(20).columns.items() if k != "town"}
        )


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("maria.perez@example.com", 0),
        ("maria85@example.com", 2),
        ("x123456789012@example.com", 9),
        ("maria@Mailinator.com", 10),
        ("x77@yopmail.com", 12),
        ("maria@1000.example.com", 0),
    ],
)
def test_an_address_is_its_digits_and_its_kind_of_domain(address: str, number: float) -> None:
    assert email_pattern(address) == number


def test_a_name_does_not_decide() -> None:
    spec = check_spec([feature("STRING", "email", format=Format.EMAIL)])
    vectors = [to_feature_vector({"email": f"{n}@gmail.com"}, spec) for n in ("ana.diaz", "li.wei")]
    assert vectors[0].tolist() == vectors[1].tolist()
