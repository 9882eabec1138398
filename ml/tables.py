"""Rows with a known outcome, column by column: what training reads."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.featurizer import Columns, Floats
from ml.metrics import Targets


class NotEnoughReason(StrEnum):
    TOO_FEW_ROWS = "TOO_FEW_ROWS"
    TOO_FEW_OF_ONE_CLASS = "TOO_FEW_OF_ONE_CLASS"
    ONE_CLASS = "ONE_CLASS"


class NotEnoughData(ValueError):
    """Nothing honest can be learned or measured from these rows."""

    def __init__(self, reason: NotEnoughReason, message: str, *, found: int, needed: int):
        super().__init__(message)
        self.reason = reason
        self.found = found
        self.needed = needed


@dataclass(frozen=True)
class Table:
    """`columns` by feature name: float arrays (NaN missing) or object arrays (None missing).

    `target` is 0 or 1. `times`, in seconds, let a model be measured on the newest rows;
    `groups` name what belongs together (one person, one booking party) and must not stand on
    both sides of a split.
    """

    columns: Columns
    target: Targets
    times: Floats | None = None
    groups: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.target)

    def take(self, rows: NDArray[np.int64]) -> "Table":
        return Table(
            {name: column[rows] for name, column in self.columns.items()},
            self.target[rows],
            None if self.times is None else self.times[rows],
            None if self.groups is None else self.groups[rows],
        )
