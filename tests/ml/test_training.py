"""Training on any table."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ml.families import DEFAULT_FAMILIES, BoostedTrees, Family, LogisticSplines, TreesMember
from ml.features import check_spec
from ml.metrics import measure
from ml.splits import FOLDS, Split, split_table
from ml.tables import NotEnoughData, Table
from ml.training import train
from tests.ml.made import PAYLOAD, SPEC, SPLINES, TREES, feature, make_model, make_table


def same_scores(first: Table, seed: int, other_seed: int) -> bool:
    models = [train(first, SPEC, key="made", families=[TREES], seed=s) for s in (seed, other_seed)]
    rows = make_table(200, seed=8).columns
    one, other = (model.scorer.score_columns(rows) for model in models)
    return bool((one == other).all())


def test_the_same_seed_gives_the_same_model_to_the_last_bit() -> None:
    assert same_scores(make_table(), 3, 3)
    assert not same_scores(make_table(), 3, 4)


def test_metrics_are_those_of_rows_that_nothing_was_trained_on() -> None:
    table = make_table()
    model = make_model()
    held = table.take(split_table(table).holdout)
    assert model.metrics == measure(held.target, model.scorer.score_columns(held.columns))
    assert model.rows + model.metrics.rows == 400
    assert model.holdout.target.tolist() == held.target.tolist()


def test_outcomes_of_the_hold_out_do_not_reach_the_model() -> None:
    table = make_table()
    held = split_table(table).holdout
    flipped = table.target.copy()
    flipped[held] = 1 - flipped[held]
    model = train(replace(table, target=flipped), SPEC, key="made", families=[TREES])
    rows = make_table(100, seed=8).columns
    expected = make_model().scorer.score_columns(rows)
    assert model.scorer.score_columns(rows).tolist() == expected.tolist()


def test_a_split_of_the_caller_is_taken() -> None:
    rows = np.arange(400)
    split = Split(rows[:300], rows[300:])
    model = train(make_table(), SPEC, key="made", families=[SPLINES], split=split)
    assert (model.rows, model.metrics.rows) == (300, 100)


def test_the_family_with_the_lowest_log_loss_is_chosen() -> None:
    trees = BoostedTrees("boosted_trees", leaves=8, rounds=100, rows_per_leaf=10)
    orders: list[list[Family]] = [[SPLINES, trees], [trees, SPLINES]]
    for families in orders:
        model = train(make_table(3_000), SPEC, key="made", families=families)
        # the table is made with an interaction, which an additive model can't have
        assert model.model_type == "boosted_trees"
        assert model.candidates["boosted_trees"] < model.candidates["logistic_splines"]


def test_a_straight_line_is_left_to_the_simple_family() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    target = (rng.random(300) < 1 / (1 + np.exp(-2 * x))).astype(np.int64)
    model = train(Table({"x": x}, target), check_spec([feature()]), key="line")
    assert model.model_type == "logistic_splines"


def test_it_learns_what_there_is_to_learn() -> None:
    model = train(make_table(3_000), SPEC, key="made")
    assert model.metrics.roc_auc is not None
    assert model.metrics.roc_auc > 0.75
    assert model.metrics.ece < 0.08
    wanted, other = ({**PAYLOAD, "hours-per-week": 60.0, "town": t} for t in ("Lima", "Quito"))
    assert model.scorer.score_one(wanted) > 0.8 > model.scorer.score_one(other)


def test_without_signal_it_says_the_base_rate() -> None:
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=1_000)}
    target = (rng.random(1_000) < 0.3).astype(np.int64)
    model = train(Table(columns, target), check_spec([feature()]), key="noise")
    assert np.abs(model.scorer.score_columns(columns) - target.mean()).max() < 0.1


def test_progress_runs_from_first_to_last_step() -> None:
    seen: list[tuple[int, int, str]] = []
    train(
        make_table(),
        SPEC,
        key="made",
        families=[SPLINES, TREES],
        progress=lambda done, total, stage: seen.append((done, total, stage)),
    )
    assert [done for done, _, _ in seen] == list(range(1, 13))
    assert {total for _, total, _ in seen} == {12}
    assert {stage for _, _, stage in seen} == {
        "prepare",
        "logistic_splines",
        "boosted_trees",
        "measure",
    }


def test_too_little_data_is_refused() -> None:
    with pytest.raises(NotEnoughData):
        train(make_table(50), SPEC, key="made")


def test_a_table_without_a_feature_is_refused() -> None:
    table = make_table()
    columns = {name: column for name, column in table.columns.items() if name != "absences"}
    with pytest.raises(KeyError, match="absences"):
        train(replace(table, columns=columns), SPEC, key="made", families=[SPLINES])


def test_rows_of_a_large_group_weigh_less() -> None:
    # one party of 200 equal rows that all say 1, against 200 single rows that say 0
    columns = {"x": np.concatenate([np.zeros(400), np.ones(200)])}
    target = np.concatenate([np.ones(200), np.zeros(200), np.arange(200) % 2]).astype(np.int64)
    numbers = np.concatenate([np.zeros(200), np.arange(1, 401)])
    split = Split(np.arange(600), np.arange(600))
    spec = check_spec([feature()])
    scores = [
        train(Table(columns, target, groups=g), spec, key="party", families=[SPLINES], split=split)
        .estimator.members[1]
        .decision_function(np.array([[0]]))[0]
        for g in (numbers, np.arange(600))
    ]
    assert scores[0] < scores[1] - 1


def test_a_constant_and_an_empty_column_do_no_harm() -> None:
    table = make_table()
    spec = check_spec([*SPEC, feature(name="same"), feature(name="none", required=False)])
    extra = {"same": np.full(400, 7.0), "none": np.full(400, np.nan)}
    wider = replace(table, columns={**table.columns, **extra})
    for family in (SPLINES, TREES):
        model = train(wider, spec, key="made", families=[family])
        impacts = {i.feature: i.impact for i in model.scorer.explain_one({**PAYLOAD, "same": 7.0})}
        assert impacts["same"] == pytest.approx(0, abs=1e-9)
        assert impacts["none"] == pytest.approx(0, abs=1e-9)


def test_the_artifact_says_what_it_was_made_of() -> None:
    artifact = make_model().artifact
    assert artifact.libraries.keys() == {"python", "numpy", "scikit-learn", "joblib"}
    assert artifact.metrics["roc_auc"] == make_model().metrics.roc_auc
    assert artifact.rows == make_model().rows


def test_no_rows_are_set_aside_to_stop_early() -> None:
    # scikit-learn does so by itself from 10,000 rows on, and loses a tenth of them
    table = make_table(13_000)
    brief = BoostedTrees("brief", leaves=2, rounds=15, rows_per_leaf=5, learning_rate=1.0)
    model = train(table, SPEC, key="made", families=[brief])
    trees = [m.model for m in model.estimator.members if isinstance(m, TreesMember)]
    assert [(tree.n_iter_, tree.do_early_stopping_) for tree in trees] == [(15, False)] * FOLDS


def test_families_have_names_of_their_own() -> None:
    names = [family.name for family in DEFAULT_FAMILIES]
    assert len(set(names)) == len(names)
    assert {type(family) for family in DEFAULT_FAMILIES} == {BoostedTrees, LogisticSplines}


def test_serving_never_imports_scikit_learn() -> None:
    program = (
        "import sys, ml.artifacts, ml.registry, ml.scoring, ml.attendance.spec, ml.spec_json;"
        "print('sklearn' in sys.modules, 'scipy' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert output.stdout.split() == [b"False", b"False"]
