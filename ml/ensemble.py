"""The estimator of an artifact: a scikit-learn classifier over the featurizer's matrix."""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from ml.binning import Binner, Codes
from ml.families import Design, Family, Member
from ml.featurizer import Floats
from ml.metrics import Targets
from ml.splits import Rows

# A model without signal may have a slope of zero or less: the order of its scores must not turn.
SMALLEST_SLOPE = 1e-6


class CalibratedEnsemble(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """log-odds = slope * mean of the members' log-odds + intercept (Platt 1999).

    The map is monotone, so it changes no order, and linear on the log-odds, so contributions
    stay additive under it.
    """

    def __init__(
        self, binner: Binner, members: Sequence[Member], slope: float, intercept: float
    ) -> None:
        self.binner = binner
        self.members = members
        self.slope = slope
        self.intercept = intercept
        self.classes_ = np.array([0, 1])

    def decision_function(self, matrix: Floats) -> Floats:
        codes = self.binner.codes(matrix)
        mean = np.mean([member.decision_function(codes) for member in self.members], axis=0)
        log_odds: Floats = self.slope * mean + self.intercept
        return log_odds

    def predict_proba(self, matrix: Floats) -> Floats:
        """Shape (rows, 2)."""
        ones = 1 / (1 + np.exp(-self.decision_function(matrix)))
        return np.column_stack([1 - ones, ones])

    def predict(self, matrix: Floats) -> Targets:
        return (self.decision_function(matrix) >= 0).astype(np.int64)


def cross_fit(
    family: Family,
    design: Design,
    codes: Codes,
    target: Targets,
    weights: Floats,
    folds: Rows,
    seed: int,
    on_fold: Callable[[], None],
) -> tuple[list[Member], Floats]:
    """A member for each fold, trained on the other folds, and its log-odds for its own rows.

    The members' mean is steadier than one model on all rows, and the log-odds, each given by a
    member that has not seen the row, are what calibration and choice are measured on.
    """
    members = []
    unseen = np.empty(len(target))
    for fold in range(int(folds.max()) + 1):
        own = folds == fold
        member = family.fit(design, codes[~own], target[~own], weights[~own], seed + fold)
        unseen[own] = member.decision_function(codes[own])
        members.append(member)
        on_fold()
    return members, unseen


def calibrate(log_odds: Floats, target: Targets) -> tuple[float, float]:
    """Slope and intercept that fit best, the slope never negative."""
    model = LogisticRegression(C=1e6).fit(log_odds[:, None], target)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope >= SMALLEST_SLOPE:
        return slope, intercept
    share = float(target.mean())
    return SMALLEST_SLOPE, float(np.log(share / (1 - share)))
