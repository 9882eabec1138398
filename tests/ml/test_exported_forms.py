"""What serves is what scikit-learn trained: the same numbers, and explanations that add up."""

import math
from collections.abc import Sequence
from itertools import combinations, product
from math import factorial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.compilation import compile_ensemble
from ml.ensemble import CalibratedEnsemble
from ml.families import BoostedTrees, Design, LogisticSplines
from ml.features import check_spec
from ml.featurizer import Floats
from ml.forms import Forest, Form, Tables, form_of
from ml.scoring import TrainedScorer
from ml.splits import Split
from ml.tables import Table
from ml.training import TrainedModel, train
from tests.ml.made import COLOURS, PAYLOAD, SPEC, SPLINES, TREES, feature, make_model, make_table

AnyFamily = BoostedTrees | LogisticSplines
FAMILIES = pytest.mark.parametrize("family", [TREES, SPLINES], ids=["trees", "splines"])
NUMBER = st.none() | st.floats(-100, 200) | st.sampled_from([0.0, -0.0, 1e300, -1e300, 1e-300])
PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "hours-per-week": NUMBER,
        "absences": st.none() | st.integers(-5, 10**9),
        "repeats": st.none() | st.booleans(),
        "colour": st.none() | st.sampled_from(COLOURS),
        "town": st.none() | st.text(max_size=5) | st.sampled_from(["Lima", "Quito", "Cusco"]),
    },
)


def sklearn_scores(model: TrainedModel, matrix: Floats) -> Floats:
    scores: Floats = model.estimator.predict_proba(matrix)[:, 1]
    return scores


@FAMILIES
def test_thousands_of_rows_score_as_in_scikit_learn(family: AnyFamily) -> None:
    model = make_model(family)
    matrix = model.scorer.featurizer.matrix_of_columns(make_table(5_000, seed=9).columns)
    np.testing.assert_allclose(
        model.scorer.score_matrix(matrix), sklearn_scores(model, matrix), rtol=0, atol=1e-12
    )


@FAMILIES
def test_values_on_and_beside_every_threshold_score_as_in_scikit_learn(family: AnyFamily) -> None:
    model = make_model(family)
    scorer = model.scorer
    base = scorer.featurizer.vector(PAYLOAD)
    rows = []
    for column, edges in enumerate(scorer.binner.edges):
        beside = [np.nextafter(edges, -np.inf), edges, np.nextafter(edges, np.inf)]
        for value in [*np.concatenate(beside), np.nan, -np.inf, np.inf, -1.0, 250.0, 0.5]:
            row = base.copy()
            row[column] = value
            rows.append(row)
    matrix = np.array(rows)
    expected = sklearn_scores(model, matrix)
    np.testing.assert_allclose(scorer.score_matrix(matrix), expected, rtol=0, atol=1e-12)
    one_by_one = [
        scorer.form.log_odds_of_row(scorer.binner.codes_of_row(row)) for row in matrix.tolist()
    ]
    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(one_by_one))), expected, atol=1e-12)


def test_a_choice_that_some_folds_never_saw_scores_as_in_scikit_learn() -> None:
    # the only "pink" row is in one fold, whose member was trained without it
    rng = np.random.default_rng(0)
    colours = np.array(["grey", "blue", "red", "green"], dtype=object)[rng.integers(4, size=400)]
    colours[7] = "pink"
    chances = np.where((colours == "red") | (colours == "pink"), 0.9, 0.2)
    choices = ("pink", "blue", "red", "green", "grey")
    spec = check_spec([feature("STRING", "colour", choices=choices)])
    columns = {"colour": colours}
    table = Table(columns, (rng.random(400) < chances).astype(np.int64))
    rows = np.arange(400)
    model = train(table, spec, key="rare", families=[TREES], split=Split(rows, rows))
    matrix = model.scorer.featurizer.matrix([{"colour": c} for c in spec[0].choices] + [{}])
    np.testing.assert_allclose(
        model.scorer.score_matrix(matrix), sklearn_scores(model, matrix), rtol=0, atol=1e-12
    )


@FAMILIES
@given(payload=PAYLOADS)
@settings(max_examples=60, deadline=None)
def test_one_row_a_batch_and_scikit_learn_agree(family: AnyFamily, payload: dict[str, Any]) -> None:
    model = make_model(family)
    one = model.scorer.score_one(payload)
    assert one == pytest.approx(float(model.scorer.score([payload, PAYLOAD])[0]), abs=1e-12)
    matrix = model.scorer.featurizer.matrix([payload])
    assert one == pytest.approx(float(sklearn_scores(model, matrix)[0]), abs=1e-9)
    assert 0 <= one <= 1


@FAMILIES
@given(payload=PAYLOADS)
@settings(max_examples=60, deadline=None)
def test_impacts_and_base_value_sum_to_the_log_odds_of_the_score(
    family: AnyFamily, payload: dict[str, Any]
) -> None:
    scorer = make_model(family).scorer
    impacts = scorer.explain_one(payload)
    score = scorer.score_one(payload)
    total = scorer.base_value + sum(impact.impact for impact in impacts)
    assert total == pytest.approx(math.log(score / (1 - score)), abs=1e-6)


def test_impacts_name_each_modelled_feature_once_largest_first() -> None:
    impacts = make_model().scorer.explain_one(PAYLOAD)
    sizes = [abs(impact.impact) for impact in impacts]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0
    assert {impact.feature: impact.value for impact in impacts} == {
        name: value for name, value in PAYLOAD.items() if name != "nickname"
    }


def test_an_impact_points_where_the_feature_moves_the_score() -> None:
    # more hours, more often the outcome 1: that is how the table was made
    few, many = (
        {i.feature: i.impact for i in make_model().scorer.explain_one({**PAYLOAD, **hours})}
        for hours in ({"hours-per-week": 2.0}, {"hours-per-week": 78.0})
    )
    assert few["hours-per-week"] < 0 < many["hours-per-week"]


def shapley_by_enumeration(form: Form, sizes: list[int], shares: Floats, row: list[int]) -> Floats:
    """By the definition: the mean over all orders of what each feature adds, where an unknown
    feature is averaged over its bins. Knows the form by its scores only.
    """
    features = range(len(sizes))
    starts = np.cumsum([0, *sizes])
    grid = np.array(list(product(*(range(size) for size in sizes))))
    weights = np.prod([shares[starts[f] + grid[:, f]] for f in features], axis=0)

    def value(known: Sequence[int]) -> float:
        codes = grid.copy()
        codes[:, list(known)] = [row[f] for f in known]
        return float(weights @ form.log_odds(codes))

    result = np.zeros(len(sizes))
    count = len(sizes)
    for f in features:
        others = [other for other in features if other != f]
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for known in combinations(others, size):
                result[f] += weight * (value([*known, f]) - value(known))
    return result


@FAMILIES
def test_impacts_are_the_shapley_values_of_the_definition(family: AnyFamily) -> None:
    rng = np.random.default_rng(3)
    rows = 300
    spec = check_spec(
        [
            feature("INT", "a"),
            feature("INT", "b"),
            feature("STRING", "c", choices=COLOURS),
            feature("BOOLEAN", "d"),
        ]
    )
    columns = {
        "a": rng.integers(4, size=rows) * 1.0,
        "b": rng.integers(3, size=rows) * 1.0,
        "c": np.array(COLOURS, dtype=object)[rng.integers(3, size=rows)],
        "d": rng.integers(2, size=rows) * 1.0,
    }
    log_odds = columns["a"] * columns["d"] - (columns["c"] == "red") * columns["b"]
    target = (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    scorer = train(Table(columns, target), spec, key="small", families=[family]).scorer
    form, sizes = scorer.form, scorer.binner.sizes
    assert isinstance(form, Forest | Tables)
    for row in ([0, 0, 0, 0], [3, 2, 1, 1], [2, 1, 2, 0], [1, 0, 2, 1]):
        expected = shapley_by_enumeration(form, sizes, form.shares, row)
        np.testing.assert_allclose(form.contributions(row), expected, atol=1e-9)


def test_what_a_form_writes_down_is_the_same_form() -> None:
    for family in (TREES, SPLINES):
        scorer = make_model(family).scorer
        again = form_of(scorer.form.arrays())
        codes = scorer.binner.codes_of_row(scorer.featurizer.row(PAYLOAD))
        assert again.log_odds_of_row(codes) == scorer.form.log_odds_of_row(codes)
        assert again.base == scorer.form.base


def test_calibration_never_turns_the_order_of_scores() -> None:
    model = make_model()
    raw = CalibratedEnsemble(model.estimator.binner, model.estimator.members, 1.0, 0.0)
    matrix = model.scorer.featurizer.matrix_of_columns(make_table(500, seed=4).columns)
    order = np.argsort(raw.decision_function(matrix), kind="stable")
    assert (np.diff(model.scorer.score_matrix(matrix)[order]) >= -1e-15).all()


def test_a_family_without_an_exported_form_is_refused() -> None:
    class Constant:
        def decision_function(self, codes: Any) -> Floats:
            return np.zeros(len(codes))

    model = make_model()
    stranger = CalibratedEnsemble(model.scorer.binner, [Constant()], 1.0, 0.0)
    design = Design(model.scorer.binner, (), (), np.empty(0))
    with pytest.raises(TypeError, match="Constant"):
        compile_ensemble(stranger, design)


def test_no_rows_have_no_scores() -> None:
    for family in (TREES, SPLINES):
        assert make_model(family).scorer.score([]).shape == (0,)


def test_a_scorer_is_shared_and_never_changed() -> None:
    scorer = make_model().scorer
    named = scorer.with_version("v7")
    assert isinstance(named, TrainedScorer)
    assert (named.version, scorer.version) == ("v7", "unregistered")
    assert named.form is scorer.form
    assert named.spec == SPEC
