"""Honest splits: nothing that is measured on was trained on, nor anything too close to it."""

from dataclasses import replace

import numpy as np
import pytest

from ml.splits import FOLDS, folds_of, split_table
from ml.tables import NotEnoughData, NotEnoughReason, Table
from tests.ml.made import make_table


def times(table: Table) -> Table:
    minutes = np.random.default_rng(1).permutation(len(table))
    return replace(table, times=minutes.astype(np.float64) * 60)


def groups(table: Table, size: int = 5) -> Table:
    return replace(table, groups=np.arange(len(table)) // size)


def test_every_row_is_on_one_side() -> None:
    split = split_table(make_table())
    both = np.concatenate([split.training, split.holdout])
    assert sorted(both.tolist()) == list(range(400))
    assert 0.12 < len(split.holdout) / 400 < 0.28


def test_a_row_keeps_its_side_when_the_table_grows() -> None:
    small, large = make_table(400), make_table(400)
    more = make_table(300, seed=5)
    columns = {n: np.concatenate([c, more.columns[n]]) for n, c in large.columns.items()}
    grown = Table(columns, np.concatenate([large.target, more.target]))
    held = set(split_table(small).holdout.tolist())
    assert held == {row for row in split_table(grown).holdout.tolist() if row < 400}


def test_equal_rows_share_a_side() -> None:
    table = make_table(200)
    twice = table.take(np.concatenate([np.arange(200), np.arange(200)]))
    split = split_table(twice)
    assert {row % 200 for row in split.training}.isdisjoint(row % 200 for row in split.holdout)


def test_with_times_the_newest_rows_are_held_out() -> None:
    table = times(make_table())
    split = split_table(table)
    assert table.times is not None
    assert table.times[split.training].max() < table.times[split.holdout].min()
    assert len(split.holdout) == pytest.approx(80, abs=1)


def test_rows_of_one_instant_are_not_parted() -> None:
    table = replace(make_table(), times=np.repeat(np.arange(8.0), 50))
    split = split_table(table)
    assert table.times is not None
    assert set(table.times[split.training]).isdisjoint(table.times[split.holdout])


def test_no_group_stands_on_both_sides() -> None:
    table = groups(make_table())
    split = split_table(table)
    assert table.groups is not None
    assert set(table.groups[split.training]).isdisjoint(table.groups[split.holdout])


def test_with_times_and_groups_a_known_group_is_not_measured_on_nor_trained_on_later() -> None:
    table = groups(times(make_table(600)), size=2)
    split = split_table(table)
    assert table.times is not None
    assert table.groups is not None
    assert set(table.groups[split.training]).isdisjoint(table.groups[split.holdout])
    assert table.times[split.training].max() < table.times[split.holdout].min()
    assert len(split.training) + len(split.holdout) < 600


def test_folds_keep_groups_whole() -> None:
    table = groups(make_table())
    folds = folds_of(table, seed=0).reshape(-1, 5)
    assert (folds == folds[:, :1]).all()
    assert set(folds.ravel()) == set(range(FOLDS))


def test_folds_over_time_are_blocks() -> None:
    table = times(make_table())
    assert table.times is not None
    assert (np.diff(folds_of(table, seed=0)[np.argsort(table.times)]) >= 0).all()


def test_folds_at_random_have_equal_shares_of_each_class() -> None:
    table = make_table()
    folds = folds_of(table, seed=0)
    positives = [int(table.target[folds == fold].sum()) for fold in range(FOLDS)]
    assert max(positives) - min(positives) <= 1
    assert (folds != folds_of(table, seed=1)).any()


def outcome(rows: int, positives: int) -> Table:
    table = make_table(rows)
    return replace(table, target=(np.arange(rows) < positives).astype(np.int64))


@pytest.mark.parametrize(
    ("rows", "positives", "reason", "found"),
    [
        (99, 50, NotEnoughReason.TOO_FEW_ROWS, 99),
        (200, 0, NotEnoughReason.ONE_CLASS, 0),
        (200, 200, NotEnoughReason.ONE_CLASS, 0),
        (200, 19, NotEnoughReason.TOO_FEW_OF_ONE_CLASS, 19),
    ],
)
def test_too_little_data_is_refused_with_its_reason(
    rows: int, positives: int, reason: NotEnoughReason, found: int
) -> None:
    with pytest.raises(NotEnoughData) as caught:
        split_table(outcome(rows, positives))
    assert (caught.value.reason, caught.value.found) == (reason, found)
    assert str(caught.value.needed) in str(caught.value)


def test_an_outcome_that_never_happens_in_the_newest_rows_is_refused() -> None:
    table = replace(outcome(200, 60), times=np.arange(200.0))
    with pytest.raises(NotEnoughData) as caught:
        split_table(table)
    assert caught.value.reason is NotEnoughReason.ONE_CLASS
