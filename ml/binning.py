"""Every number a model sees is first put into one of a few bins of its feature.

Bins are shared by all parts of a model, so a trained model is a function of small integers:
that is what makes the compiled forms exact, and explanations countable.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ml.featurizer import Floats

Codes = NDArray[np.int64]

MAX_BINS = 128


@dataclass(frozen=True)
class Binner:
    """Column j of a matrix goes to bin i where edges[j][i-1] < x <= edges[j][i].

    A categorical column's code is its bin; a code past the last known one, like NaN, is missing.
    The last bin of every feature is the one for missing.
    """

    edges: tuple[Floats, ...]
    categories: tuple[int, ...]
    """Known codes of a categorical column, 0 for a number."""
    _lists: list[list[float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # bisect on a list beats numpy's searchsorted tenfold for a single value.
        object.__setattr__(self, "_lists", [edges.tolist() for edges in self.edges])

    @property
    def sizes(self) -> list[int]:
        """Bins of each column, the one for missing included."""
        return [
            known + 1 if known else len(edges) + 2
            for edges, known in zip(self.edges, self.categories, strict=True)
        ]

    def codes(self, matrix: Floats) -> Codes:
        """Shape (rows, features) of bin numbers."""
        codes = np.empty(matrix.shape, dtype=np.int64)
        columns = zip(matrix.T, self.edges, self.categories, strict=True)
        for j, (column, edges, known) in enumerate(columns):
            missing = np.isnan(column)
            if known:
                missing |= (column < 0) | (column >= known)
                codes[:, j] = np.where(missing, known, column).astype(np.int64)
            else:
                codes[:, j] = np.searchsorted(edges, column, side="left")
                codes[missing, j] = len(edges) + 1
        return codes

    def codes_of_row(self, row: Sequence[float]) -> list[int]:
        """The same for one row."""
        codes = []
        for value, edges, known in zip(row, self._lists, self.categories, strict=True):
            if value != value:  # noqa: PLR0124 - NaN alone differs from itself
                codes.append(known or len(edges) + 1)
            elif known:
                codes.append(int(value) if 0 <= value < known else known)
            else:
                codes.append(bisect_left(edges, value))
        return codes


def fit_binner(matrix: Floats, categorical: Sequence[bool]) -> Binner:
    """Edges lie half way between neighbouring values, or at quantiles where there are many."""
    edges: list[Floats] = []
    categories: list[int] = []
    for column, is_code in zip(matrix.T, categorical, strict=True):
        known = column[~np.isnan(column)]
        edges.append(np.empty(0) if is_code else _edges(known))
        categories.append(int(known.max()) + 1 if is_code and known.size else int(is_code))
    return Binner(tuple(edges), tuple(categories))


def _edges(values: Floats) -> Floats:
    distinct = np.unique(values)
    if distinct.size <= MAX_BINS:
        return (distinct[:-1] + distinct[1:]) / 2 if distinct.size else distinct
    # method: an edge is a value that occurs, so that it means the same on every machine
    quantiles = np.quantile(values, np.linspace(0, 1, MAX_BINS + 1)[1:-1], method="lower")
    return np.unique(quantiles)
