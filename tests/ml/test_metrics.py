"""Metrics against scikit-learn's, and where they are undefined."""

import numpy as np
import pytest
from sklearn import metrics as sk

from ml.metrics import expected_calibration_error, measure, roc_auc


def test_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.random(500), 2)  # with ties
    target = (rng.random(500) < scores).astype(np.int64)
    ours, labels = measure(target, scores), scores >= 0.5
    sure = np.clip(scores, 1e-12, 1 - 1e-12)
    assert ours.accuracy == pytest.approx(sk.accuracy_score(target, labels))
    assert ours.precision == pytest.approx(sk.precision_score(target, labels))
    assert ours.recall == pytest.approx(sk.recall_score(target, labels))
    assert ours.f1_score == pytest.approx(sk.f1_score(target, labels))
    assert ours.roc_auc == pytest.approx(sk.roc_auc_score(target, scores))
    assert ours.brier == pytest.approx(sk.brier_score_loss(target, scores))
    assert ours.log_loss == pytest.approx(sk.log_loss(target, sure))
    assert (ours.rows, ours.positives) == (500, int(target.sum()))


def test_auc_is_undefined_with_one_class_and_never_nan() -> None:
    assert roc_auc(np.ones(5, dtype=np.int64), np.linspace(0, 1, 5)) is None
    measured = measure(np.zeros(5, dtype=np.int64), np.full(5, 0.2)).to_json()
    assert measured["roc_auc"] is None
    assert all(value == value for value in measured.values())  # noqa: PLR0124 - NaN differs


def test_a_bad_model_is_reported_under_a_half() -> None:
    assert roc_auc(np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.8, 0.9])) == 0


def test_calibration_error_is_the_gap_between_said_and_seen() -> None:
    target = np.array([1] * 7 + [0] * 3)
    assert expected_calibration_error(target, np.full(10, 0.7)) == pytest.approx(0)
    assert expected_calibration_error(target, np.full(10, 0.9)) == pytest.approx(0.2)
    # two bins, a tenth too much in one and too little in the other: no cancelling
    both = np.array([0.2] * 10 + [0.8] * 10)
    outcomes = np.array([1] * 3 + [0] * 7 + [1] * 7 + [0] * 3)
    assert expected_calibration_error(outcomes, both) == pytest.approx(0.1)


def test_certain_and_wrong_costs_much_and_not_infinitely() -> None:
    assert 20 < measure(np.array([0, 1]), np.array([1.0, 0.0])).log_loss < 100


def test_there_is_nothing_to_measure_without_rows() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure(np.array([], dtype=np.int64), np.array([]))
