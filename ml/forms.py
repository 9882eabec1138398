"""The exported forms of a trained model: what a serving process computes with, numpy only.

A form maps the bin numbers of a row (see ml.binning) to log-odds, and splits a row's log-odds
into one contribution a feature: its Shapley value, where an unknown feature is drawn from its
own distribution over the training rows, independently of the others. A form's base is the
log-odds expected when nothing is known, so base + contributions = log-odds of the row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.binning import Codes
from ml.featurizer import Floats

Bits = NDArray[np.uint8]
Ints = NDArray[np.int64]

_ROWS_AT_ONCE = 64
"""Keeps the intermediate arrays of a batch inside the processor's cache."""


class Form(Protocol):
    base: float

    def log_odds(self, codes: Codes) -> Floats:
        """Shape (rows,) from bin numbers of shape (rows, features)."""
        ...

    def log_odds_of_row(self, codes: Sequence[int]) -> float: ...

    def contributions(self, codes: Sequence[int]) -> Floats:
        """Shape (features,)."""
        ...

    def arrays(self) -> dict[str, Any]:
        """What form_of turns into the same form again."""
        ...


def form_of(arrays: dict[str, Any]) -> Form:
    """The form in an artifact. Raises KeyError, TypeError or ValueError on anything else."""
    kinds: dict[str, type[Tables | Forest]] = {"tables": Tables, "forest": Forest}
    values = dict(arrays)
    return kinds[values.pop("kind")](**values)


def starts_of(sizes: Sequence[int]) -> Ints:
    """Where each feature's bins start when all bins lie in one row after another."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)


@dataclass
class Tables:
    """An additive model: log-odds = intercept + one table value a feature."""

    intercept: float
    sizes: list[int]
    values: Floats
    """One for each bin of each feature, feature after feature."""
    shares: Floats
    """Share of the training rows in each bin, in the same order."""
    base: float = field(init=False)

    def __post_init__(self) -> None:
        self._starts = starts_of(self.sizes)
        self._lists = [part.tolist() for part in np.split(self.values, self._starts[1:])]
        parts = np.split(self.values * self.shares, self._starts[1:])
        self._means = np.array([part.sum() for part in parts])
        self.base = float(self.intercept + self._means.sum())

    def log_odds(self, codes: Codes) -> Floats:
        totals: Floats = self.intercept + self.values[codes + self._starts].sum(axis=1)
        return totals

    def log_odds_of_row(self, codes: Sequence[int]) -> float:
        values = (table[code] for table, code in zip(self._lists, codes, strict=True))
        return float(self.intercept + sum(values))

    def contributions(self, codes: Sequence[int]) -> Floats:
        values = [table[code] for table, code in zip(self._lists, codes, strict=True)]
        differences: Floats = np.array(values, dtype=np.float64) - self._means
        return differences

    def arrays(self) -> dict[str, Any]:
        return {
            "kind": "tables",
            "intercept": self.intercept,
            "sizes": self.sizes,
            "values": self.values,
            "shares": self.shares,
        }


@dataclass
class Forest:
    """A sum of trees, each leaf a box: it counts where every feature lies in the leaf's bins.

    `masks` has a row of bits for every bin of every feature: the leaves that this bin allows.
    The leaves of a row are the AND of its features' masks, one leaf of every tree. No path is
    walked, so the time does not depend on depth, and a numeric, a missing and a categorical
    value cost the same.
    """

    intercept: float
    sizes: list[int]
    masks: Bits
    """Shape (bins of all features, leaves / 8)."""
    values: Floats
    """Shape (leaves,): log-odds a leaf adds; padded with zeros to a multiple of 8."""
    shares: Floats
    base: float = field(init=False)

    def __post_init__(self) -> None:
        self._starts = starts_of(self.sizes)
        self._start_list = self._starts.tolist()
        self._sums = _byte_sums(self.values).ravel()
        self._byte_starts = np.arange(self.masks.shape[1], dtype=np.int64) * 256
        self._paths = _Paths.of(self.masks, self._starts, self.sizes, self.shares)
        self.base = float(self.intercept + self.values @ self._paths.reach.prod(axis=0))

    def log_odds(self, codes: Codes) -> Floats:
        totals = np.empty(len(codes))
        for first in range(0, len(codes), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            leaves = np.bitwise_and.reduce(self.masks[codes[part] + self._starts], axis=1)
            totals[part] = self._sums.take(leaves + self._byte_starts).sum(axis=1)
        return totals + self.intercept

    def log_odds_of_row(self, codes: Sequence[int]) -> float:
        return self.intercept + float(self._sums.take(self._leaves(codes)).sum())

    def _leaves(self, codes: Sequence[int]) -> Ints:
        rows = [start + code for start, code in zip(self._start_list, codes, strict=True)]
        leaves: Ints = np.bitwise_and.reduce(self.masks[rows]) + self._byte_starts
        return leaves

    def contributions(self, codes: Sequence[int]) -> Floats:
        return self._paths.shapley(self.masks, self._starts + np.array(codes), self.values)

    def arrays(self) -> dict[str, Any]:
        return {
            "kind": "forest",
            "intercept": self.intercept,
            "sizes": self.sizes,
            "masks": self.masks,
            "values": self.values,
            "shares": self.shares,
        }


def _byte_sums(values: Floats) -> Floats:
    """Shape (leaves / 8, 256): the sum of leaf values for every pattern of eight leaves."""
    patterns = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    sums: Floats = values.reshape(-1, 8) @ patterns.T.astype(np.float64)
    return sums


@dataclass
class _Paths:
    """Which features a leaf asks for, and how many of the training rows each would let through.

    Shapes (most features a leaf asks for, leaves); a leaf with fewer is padded with feature -1,
    which everything passes.
    """

    features: Ints
    reach: Floats

    @classmethod
    def of(cls, masks: Bits, starts: Ints, sizes: Sequence[int], shares: Floats) -> "_Paths":
        by_feature = []
        for start, size in zip(starts, sizes, strict=True):
            bins = slice(start, start + size)
            allowed = np.unpackbits(masks[bins], axis=1)
            asked = ~allowed.all(axis=0)
            by_feature.append(np.where(asked, shares[bins] @ allowed, 2.0))
        reach = np.vstack(by_feature)
        # 2.0 marks "not asked" and sorts behind every share
        depth = max(1, int((reach < 2.0).sum(axis=0).max()))
        order = np.argsort(reach, axis=0, kind="stable")[:depth].astype(np.int64)
        reach = np.take_along_axis(reach, order, axis=0)
        return cls(np.where(reach == 2.0, -1, order), np.minimum(reach, 1.0))

    def shapley(self, masks: Bits, rows: Ints, values: Floats) -> Floats:
        """Shapley values of the row whose masks are `rows`, shape (features,).

        A leaf is a product game: knowing a set S of features it pays
        value * prod_{i in S} passes_i * prod_{i not in S} reach_i. The Shapley value of a
        product game is the integral over t in [0, 1] of
        (passes_i - reach_i) * prod_{j != i} (reach_j + t (passes_j - reach_j))
        (the multilinear extension, Owen 1972): a polynomial of degree depth - 1, which
        Gauss-Legendre quadrature with half as many nodes integrates exactly.
        """
        bits = np.unpackbits(masks[rows], axis=1)
        padded = np.vstack([bits, np.ones_like(bits[:1])])
        difference = np.take_along_axis(padded, self.features, axis=0) - self.reach
        nodes, weights = np.polynomial.legendre.leggauss(len(self.reach) // 2 + 1)
        total = np.zeros_like(self.reach)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            # never zero: inside (0, 1), and a leaf is reached by some training row
            factors = self.reach + node * difference
            total += (weight * factors.prod(axis=0)) / factors
        total *= difference * values
        sums = np.bincount((self.features + 1).ravel(), total.ravel(), len(rows) + 1)
        return sums[1:].astype(np.float64)
