"""Honest splits: what a model is measured on, it has not seen, nor anything too close to it."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.featurizer import Floats
from ml.metrics import Targets
from ml.tables import NotEnoughData, NotEnoughReason, Table

Rows = NDArray[np.int64]

HOLDOUT_SHARE = 0.2
FOLDS = 5
MINIMUM_ROWS = 100
MINIMUM_PER_CLASS = 20


@dataclass(frozen=True)
class Split:
    """Row numbers of a table."""

    training: Rows
    holdout: Rows


def split_table(table: Table) -> Split:
    """A fifth of the rows to measure on.

    With times the newest, and no group that was trained on. Without, by a hash of the group or
    of the row itself: a row keeps its side when the table grows or is trained on again, so a
    champion has never seen the rows on which its challenger is measured; equal rows share one.
    Raises NotEnoughData.
    """
    require_enough(table.target)
    split = _by_hash(table) if table.times is None else _by_time(table.times, table.groups)
    for rows in (split.training, split.holdout):
        _require_both_classes(table.target[rows])
    return split


def require_enough(target: Targets) -> None:
    """Raises NotEnoughData for a table too small, or with too few of a class."""
    if len(target) < MINIMUM_ROWS:
        raise NotEnoughData(
            NotEnoughReason.TOO_FEW_ROWS,
            f"training needs at least {MINIMUM_ROWS} rows, got {len(target)}",
            found=len(target),
            needed=MINIMUM_ROWS,
        )
    counts = np.bincount(target, minlength=2)
    rarer = int(counts.argmin())
    if counts[rarer] < MINIMUM_PER_CLASS:
        none = not counts[rarer]
        raise NotEnoughData(
            NotEnoughReason.ONE_CLASS if none else NotEnoughReason.TOO_FEW_OF_ONE_CLASS,
            f"training needs at least {MINIMUM_PER_CLASS} rows of each outcome, "
            f"got {counts[rarer]} with outcome {rarer}",
            found=int(counts[rarer]),
            needed=MINIMUM_PER_CLASS,
        )


def folds_of(table: Table, seed: int) -> Rows:
    """The fold of every row, shape (rows,): blocks of time, else whole groups, else at random
    with the same share of each class. Raises NotEnoughData where some fold's rest has one class.
    """
    rows = len(table)
    if table.times is not None:
        folds = _blocks(np.argsort(table.times, kind="stable"))
    elif table.groups is not None:
        _, group = np.unique(table.groups, return_inverse=True)
        shuffled = np.random.default_rng(seed).permutation(int(group.max()) + 1)
        folds = (shuffled % FOLDS)[group]
    else:
        order = np.random.default_rng(seed).permutation(rows)
        by_class = order[np.argsort(table.target[order], kind="stable")]
        folds = np.empty(rows, dtype=np.int64)
        folds[by_class] = np.arange(rows) % FOLDS
    for fold in range(FOLDS):
        _require_both_classes(table.target[folds != fold])
    return folds


def _blocks(order: Rows) -> Rows:
    folds = np.empty(len(order), dtype=np.int64)
    folds[order] = np.arange(len(order)) * FOLDS // len(order)
    return folds


def _by_time(times: Floats, groups: NDArray[Any] | None) -> Split:
    newer = times > np.quantile(times, 1 - HOLDOUT_SHARE, method="lower")
    held = newer.copy()
    if groups is not None:
        # a newer row of a group that was trained on stands on neither side
        trained = set(groups[~newer].tolist())
        held &= np.array([group not in trained for group in groups.tolist()])
    return Split(np.flatnonzero(~newer), np.flatnonzero(held))


def _by_hash(table: Table) -> Split:
    if table.groups is not None:
        keys = [str(group) for group in table.groups.tolist()]
    else:
        columns = [table.columns[name].tolist() for name in sorted(table.columns)]
        keys = [repr(values) for values in zip(*columns, strict=True)]
    limit = int(HOLDOUT_SHARE * 2**32)
    held = np.array([_hash(key) < limit for key in keys])
    return Split(np.flatnonzero(~held), np.flatnonzero(held))


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def _require_both_classes(target: Targets) -> None:
    counts = np.bincount(target, minlength=2)
    if not counts.all():
        raise NotEnoughData(
            NotEnoughReason.ONE_CLASS,
            "after an honest split one side has a single outcome",
            found=0,
            needed=1,
        )
