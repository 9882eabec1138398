"""Scores and explanations in a serving process. Imports no scikit-learn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from ml.binning import Binner
from ml.features import FeatureValue, Spec
from ml.featurizer import Columns, Featurizer, Floats
from ml.forms import Form

MOCK_SCORE = 0.5
MOCK_VERSION = "mock"

Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Impact:
    """How far one feature moved a score, in log-odds; positive towards the class 1."""

    feature: str
    impact: float
    value: FeatureValue


class Scorer(Protocol):
    """What answers for a model: a trained one or a mock.

    Payloads are ones that ml.features.check_features found nothing wrong with.
    """

    @property
    def version(self) -> str: ...
    @property
    def is_mock(self) -> bool: ...
    @property
    def model_type(self) -> str: ...
    @property
    def base_value(self) -> float:
        """Log-odds when no feature is known."""
        ...

    def score(self, payloads: Sequence[Payload]) -> Floats:
        """Probabilities of the class 1, shape (payloads,), in one vectorised call."""
        ...

    def score_one(self, payload: Payload) -> float: ...

    def explain_one(self, payload: Payload) -> list[Impact]:
        """Impacts of the modelled features, largest absolute first. base_value and the impacts
        sum to the log-odds of score_one.
        """
        ...

    def with_version(self, version: str) -> "Scorer": ...


@dataclass(frozen=True)
class TrainedScorer:
    """Safe to share between threads: nothing in it changes."""

    featurizer: Featurizer
    binner: Binner
    form: Form
    model_type: str
    version: str = "unregistered"

    @property
    def is_mock(self) -> bool:
        return False

    @property
    def spec(self) -> Spec:
        return self.featurizer.spec

    @property
    def base_value(self) -> float:
        return self.form.base

    def score(self, payloads: Sequence[Payload]) -> Floats:
        return self.score_matrix(self.featurizer.matrix(payloads))

    def score_columns(self, columns: Columns) -> Floats:
        """Probabilities for the rows of a table, shape (rows,)."""
        return self.score_matrix(self.featurizer.matrix_of_columns(columns))

    def score_matrix(self, matrix: Floats) -> Floats:
        """Probabilities for rows of the featurizer's matrix, shape (rows,)."""
        return probabilities(self.form.log_odds(self.binner.codes(matrix)))

    def score_one(self, payload: Payload) -> float:
        return probability(self.log_odds_one(payload))

    def log_odds_one(self, payload: Payload) -> float:
        return self.form.log_odds_of_row(self._codes(payload))

    def explain_one(self, payload: Payload) -> list[Impact]:
        impacts = [
            Impact(feature.name, float(impact), payload.get(feature.name, feature.default))
            for feature, impact in zip(
                self.featurizer.features,
                self.form.contributions(self._codes(payload)),
                strict=True,
            )
        ]
        return sorted(impacts, key=lambda impact: -abs(impact.impact))

    def with_version(self, version: str) -> "TrainedScorer":
        return replace(self, version=version)

    def _codes(self, payload: Payload) -> list[int]:
        return self.binner.codes_of_row(self.featurizer.row(payload))


@dataclass(frozen=True, slots=True)
class MockScorer:
    """Answers for a model without a usable artifact: always 0.5, and says that it is a mock."""

    version: str = MOCK_VERSION
    is_mock: bool = True
    model_type: str = MOCK_VERSION
    base_value: float = 0.0

    def score(self, payloads: Sequence[Payload]) -> Floats:
        return np.full(len(payloads), MOCK_SCORE)

    def score_one(self, payload: Payload) -> float:
        return MOCK_SCORE

    def explain_one(self, payload: Payload) -> list[Impact]:
        return []

    def with_version(self, version: str) -> "MockScorer":
        return self


class RiskLabel(StrEnum):
    ATTENDEE = "ATTENDEE"
    RESELLER = "RESELLER"


@dataclass(frozen=True, slots=True)
class RiskDecision:
    """The two probabilities sum to 1."""

    attendance_probability: float
    reseller_probability: float
    label: RiskLabel


def decide_risk(attendance_probability: float, threshold: float = 0.5) -> RiskDecision:
    """RESELLER where the reseller's probability is at least `threshold`.

    Raises ValueError for a probability or threshold outside 0 to 1.
    """
    if not 0 <= attendance_probability <= 1 or not 0 <= threshold <= 1:
        raise ValueError("probabilities and thresholds lie between 0 and 1")
    reseller = 1.0 - attendance_probability
    label = RiskLabel.RESELLER if reseller >= threshold else RiskLabel.ATTENDEE
    return RiskDecision(attendance_probability, reseller, label)


def probability(log_odds: float) -> float:
    # exp of a large positive number overflows; of a large negative one it is 0
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1.0 + odds)


def probabilities(log_odds: Floats) -> Floats:
    odds = np.exp(-np.abs(log_odds))
    result: Floats = np.where(log_odds >= 0, 1.0, odds) / (1.0 + odds)
    return result
