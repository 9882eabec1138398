"""Whether a candidate may replace the champion: on the same rows, and never silently."""

from dataclasses import replace

import numpy as np
import pytest

from ml.metrics import measure
from ml.promotion import compare, is_not_worse
from ml.registry import ModelRegistry
from ml.scoring import MockScorer
from ml.training import TrainedModel, train
from tests.ml.made import SPEC, SPLINES, feature, make_model, make_table


def ignorant() -> TrainedModel:
    """Trained on shuffled outcomes, measured on the rows that make_model is measured on."""
    table, fair = make_table(), make_model()
    shuffled = np.random.default_rng(0).permutation(table.target)
    model = train(replace(table, target=shuffled), SPEC, key="made", families=[SPLINES])
    scores = model.scorer.score_columns(fair.holdout.columns)
    metrics = measure(fair.holdout.target, scores)
    return replace(model, holdout=fair.holdout, metrics=metrics)


def test_without_a_champion_the_first_model_is_promoted() -> None:
    for champion in (None, MockScorer(), ModelRegistry().scorer("made")):
        comparison = compare(make_model(), champion)
        assert comparison.promote
        assert comparison.champion is None


def test_a_better_champion_stays() -> None:
    comparison = compare(ignorant(), make_model().scorer)
    assert not comparison.promote
    assert comparison.champion == make_model().metrics
    assert f"{make_model().metrics.log_loss:.4f}" in comparison.reason


def test_a_worse_champion_is_replaced() -> None:
    comparison = compare(make_model(), ignorant().scorer)
    assert comparison.promote
    assert comparison.champion is not None
    assert comparison.champion.log_loss > comparison.candidate.log_loss


def test_the_same_model_trained_again_is_not_worse() -> None:
    again = train(make_table(), SPEC, key="made", families=[SPLINES])
    comparison = compare(again, make_model(SPLINES).scorer)
    assert comparison.promote
    assert comparison.champion == comparison.candidate


def test_a_champion_with_other_features_is_left_to_a_person() -> None:
    spec = (*SPEC, feature(name="more"))
    table = make_table()
    wider = replace(table, columns={**table.columns, "more": np.arange(400.0)})
    champion = train(wider, spec, key="made", families=[SPLINES]).scorer
    comparison = compare(make_model(SPLINES), champion)
    assert not comparison.promote
    assert "other features" in comparison.reason


def test_log_loss_decides() -> None:
    good = make_model().metrics
    assert is_not_worse(good, good)
    assert is_not_worse(replace(good, log_loss=good.log_loss - 0.01), good)
    assert not is_not_worse(replace(good, log_loss=good.log_loss + 1e-6), good)


def test_metrics_of_other_rows_are_not_compared() -> None:
    good = make_model().metrics
    with pytest.raises(ValueError, match="different rows"):
        is_not_worse(good, replace(good, rows=good.rows + 1))
