"""The attendance model as it is shipped (checklist Q1, Q20-Q40)."""

import time
from functools import cache

import numpy as np
import pytest

from ml.attendance.generator import generate, posterior
from ml.attendance.spec import ATTENDANCE_SPEC, EXAMPLE_ATTENDEE
from ml.attendance.training import GENERATED_ROWS, train_attendance
from ml.families import BoostedTrees
from ml.metrics import measure
from ml.scoring import RiskLabel, decide_risk
from ml.tables import NotEnoughData
from ml.training import TrainedModel, train

BOT = {
    **EXAMPLE_ATTENDEE,
    "email": "x8841273@mailinator.com",
    "account_age_days": 3,
    "purchases_last_12_months": 30,
    "canceled_orders": 6,
    "tickets_per_order_avg": 7.5,
    "distance_to_venue_km": 900.0,
    "payment_failures_ratio": 0.45,
    "event_affinity_score": 0.1,
    "night_purchase_ratio": 0.8,
    "resale_reports_count": 4,
    "attendance_rate": 0.05,
}


@cache
def small_model() -> TrainedModel:
    trees = BoostedTrees("boosted_trees", leaves=8, rounds=60, rows_per_leaf=10)
    table = generate(3_000, 0).table
    return train(table, ATTENDANCE_SPEC, key="attendance", families=[trees])


@cache
def full_model() -> TrainedModel:
    return train_attendance(seed=0)


def test_the_example_of_the_source_is_an_attendee_and_a_bot_is_not() -> None:
    score = small_model().scorer.score_one
    assert score(EXAMPLE_ATTENDEE) > 0.8
    assert score(BOT) < 0.2


@pytest.mark.parametrize(("name", "value"), [("age", 91), ("country", "BR"), ("city", "Manaus")])
def test_age_and_origin_never_change_a_score(name: str, value: object) -> None:
    scorer = small_model().scorer
    for payload in (EXAMPLE_ATTENDEE, BOT):
        assert scorer.score_one({**payload, name: value}) == scorer.score_one(payload)
    assert name not in {impact.feature for impact in scorer.explain_one(BOT)}


def test_the_name_in_an_address_never_changes_a_score() -> None:
    scorer = small_model().scorer
    other = {**EXAMPLE_ATTENDEE, "email": "nguyen.thi@example.org"}
    assert scorer.score_one(other) == scorer.score_one(EXAMPLE_ATTENDEE)


def test_a_table_of_the_shop_s_own_trains_too() -> None:
    rows = generate(400, 9).table
    seen: list[str] = []
    model = train_attendance(rows, seed=1, progress=lambda done, total, stage: seen.append(stage))
    assert model.rows + model.metrics.rows == 400
    assert seen[-1] == "measure"


def test_too_few_rows_of_its_own_are_refused() -> None:
    with pytest.raises(NotEnoughData):
        train_attendance(generate(60, 9).table)


@pytest.mark.slow
@pytest.mark.parametrize("fresh_seed", [101, 202])
def test_it_comes_within_its_target_of_the_best_possible_answer(fresh_seed: int) -> None:
    fresh = generate(GENERATED_ROWS, fresh_seed).table
    best = measure(fresh.target, posterior(fresh.columns))
    ours = measure(fresh.target, full_model().scorer.score_columns(fresh.columns))
    assert ours.log_loss - best.log_loss < 0.012
    assert ours.ece < 0.02


@pytest.mark.slow
def test_at_full_size_scikit_learn_gives_the_same_scores_to_1e_6() -> None:
    model = full_model()
    fresh = generate(GENERATED_ROWS, 303).table
    matrix = model.scorer.featurizer.matrix_of_columns(fresh.columns)
    expected = model.estimator.predict_proba(matrix)[:, 1]
    np.testing.assert_allclose(model.scorer.score_matrix(matrix), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_full_model_labels_the_example_an_attendee() -> None:
    decision = decide_risk(full_model().scorer.score_one(EXAMPLE_ATTENDEE))
    assert decision.label is RiskLabel.ATTENDEE
    assert decision.attendance_probability > 0.5


@pytest.mark.slow
def test_training_is_a_matter_of_seconds() -> None:
    full_model.cache_clear()
    started = time.perf_counter()
    full_model()
    assert time.perf_counter() - started < 30


@pytest.mark.slow
def test_a_score_takes_less_than_a_fifth_of_a_millisecond() -> None:
    scorer = full_model().scorer
    times = []
    for _ in range(300):
        started = time.perf_counter()
        scorer.score_one(EXAMPLE_ATTENDEE)
        times.append(time.perf_counter() - started)
    assert sorted(times)[150] < 0.2e-3
