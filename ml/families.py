"""The families of models that training chooses from, each a scikit-learn estimator over bins.

A family's member is trained on the bin numbers of ml.binning and exported exactly, because a
function of bin numbers has finitely many values.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import SplineTransformer

from ml.binning import Binner, Codes
from ml.featurizer import Floats
from ml.metrics import Targets

_KNOTS = 6


@dataclass(frozen=True)
class Design:
    """What every fold shares: bins, which columns are categorical, and a value for each bin."""

    binner: Binner
    categorical: tuple[bool, ...]
    values: tuple[Floats, ...]
    """Mean of the training rows in each bin of a numeric feature; NaN in an empty bin and in
    the one for missing."""
    shares: Floats
    """Share of the training rows in each bin, feature after feature."""


def design_of(binner: Binner, categorical: tuple[bool, ...], matrix: Floats) -> Design:
    codes = binner.codes(matrix)
    values, shares = [], []
    for column, number, size in zip(codes.T, matrix.T, binner.sizes, strict=True):
        counts = np.bincount(column, minlength=size)
        sums = np.bincount(column, np.nan_to_num(number), minlength=size)
        means = np.full(size, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        means[-1] = np.nan
        values.append(means)
        shares.append(counts / len(codes))
    return Design(binner, categorical, tuple(values), np.concatenate(shares))


class Member(Protocol):
    """One trained model of a family."""

    def decision_function(self, codes: Codes) -> Floats:
        """Log-odds, shape (rows,)."""
        ...


class Family(Protocol):
    @property
    def name(self) -> str: ...

    def fit(
        self, design: Design, codes: Codes, target: Targets, weights: Floats, seed: int
    ) -> Member: ...


@dataclass(frozen=True)
class BoostedTrees:
    name: str
    leaves: int
    rounds: int
    rows_per_leaf: int
    learning_rate: float = 0.05
    features_per_split: float = 0.2
    l2: float = 5.0

    def fit(
        self, design: Design, codes: Codes, target: Targets, weights: Floats, seed: int
    ) -> "TreesMember":
        model = HistGradientBoostingClassifier(
            max_iter=self.rounds,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.rows_per_leaf,
            learning_rate=self.learning_rate,
            max_features=self.features_per_split,
            l2_regularization=self.l2,
            categorical_features=np.array(design.categorical),
            # "auto" would take a tenth of the rows away to decide when to stop
            early_stopping=False,
            random_state=seed,
        )
        numbers = _with_missing(codes, design.binner)
        # the estimator fails on a column without any value; a constant it never splits on
        numbers[:, np.isnan(numbers).all(axis=0)] = 0.0
        return TreesMember(model.fit(numbers, target, sample_weight=weights), design.binner)


@dataclass(frozen=True)
class TreesMember:
    model: Any
    binner: Binner

    def decision_function(self, codes: Codes) -> Floats:
        numbers = _with_missing(codes, self.binner)
        log_odds: Floats = self.model.decision_function(numbers)
        return log_odds


def _with_missing(codes: Codes, binner: Binner) -> Floats:
    """Bin numbers as floats, NaN for the bin of missing: the trees route it by itself."""
    missing = codes == np.array(binner.sizes) - 1
    return np.where(missing, np.nan, codes.astype(np.float64))


@dataclass(frozen=True)
class LogisticSplines:
    """Logistic regression on lines with bends: additive, and steady on a few hundred rows."""

    name: str = "logistic_splines"
    c: float = 0.5

    def fit(
        self, design: Design, codes: Codes, target: Targets, weights: Floats, seed: int
    ) -> "SplinesMember":
        blocks = [
            np.eye(size) if is_code else _splines(values)
            for size, is_code, values in zip(
                design.binner.sizes, design.categorical, design.values, strict=True
            )
        ]
        model = LogisticRegression(C=self.c, max_iter=2_000)
        model.fit(_stack(blocks, codes), target, sample_weight=weights)
        return SplinesMember(model, tuple(blocks))


@dataclass(frozen=True)
class SplinesMember:
    model: Any
    blocks: tuple[Floats, ...]
    """For each feature the basis functions' values, shape (bins, functions)."""

    def decision_function(self, codes: Codes) -> Floats:
        log_odds: Floats = self.model.decision_function(_stack(self.blocks, codes))
        return log_odds


def _stack(blocks: "tuple[Floats, ...] | list[Floats]", codes: Codes) -> Floats:
    return np.hstack([block[column] for block, column in zip(blocks, codes.T, strict=True)])


def _splines(values: Floats) -> Floats:
    """Basis functions of one numeric feature at each of its bins, shape (bins, functions): a
    straight line, bends at the knots, and one for missing.
    """
    known: NDArray[np.bool_] = ~np.isnan(values)
    missing = np.zeros((len(values), 1))
    missing[-1] = 1.0
    if known.sum() < 2:
        return missing
    # an empty bin takes the value of the nearest ones that have rows
    filled = np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])
    knots = SplineTransformer(
        n_knots=min(_KNOTS, int(known.sum())), degree=1, knots="quantile", extrapolation="constant"
    ).fit(values[known][:, None])
    basis = np.hstack([_line(filled, values[known])[:, None], knots.transform(filled[:, None])])
    basis[-1] = 0.0
    return np.hstack([basis, missing])


def _line(filled: Floats, known: Floats) -> Floats:
    """In units of a robust standard deviation, and no further than three of them: a penalty
    then shrinks the bends towards a line, and a far value cannot run away.
    """
    low, middle, high = np.quantile(known, [0.16, 0.5, 0.84])
    spread = (high - low) / 2 or float(np.ptp(known))
    line: Floats = np.clip((filled - middle) / spread, -3.0, 3.0)
    return line


DEFAULT_FAMILIES: tuple[Family, ...] = (
    LogisticSplines(),
    BoostedTrees("boosted_trees_small", leaves=4, rounds=120, rows_per_leaf=10),
    BoostedTrees("boosted_trees", leaves=16, rounds=200, rows_per_leaf=20),
)
