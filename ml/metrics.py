"""How good probabilities are on rows with a known outcome."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ml.featurizer import Floats

Targets = NDArray[np.int64]

CALIBRATION_BINS = 15
# A certain and wrong answer would cost infinitely much: no model is believed beyond this.
_SURE = 1e-12


@dataclass(frozen=True, slots=True)
class Metrics:
    """Of the class 1; a label is given where the probability is at least 0.5.

    `roc_auc` is None where there is one class only (it is undefined then, never NaN), and is
    reported as measured where it is under 0.5. `log_loss` in nats.
    """

    rows: int
    positives: int
    accuracy: float
    precision: float
    recall: float
    f1_score: float
    roc_auc: float | None
    brier: float
    log_loss: float
    ece: float

    def to_json(self) -> dict[str, float | int | None]:
        return asdict(self)


def measure(target: Targets, probabilities: Floats) -> Metrics:
    """Both of shape (rows,), targets 0 or 1. Raises ValueError without rows."""
    if not len(target) or len(target) != len(probabilities):
        raise ValueError("metrics need as many probabilities as outcomes, and at least one")
    said, real = probabilities >= 0.5, target == 1
    hits = int((said & real).sum())
    precision = hits / max(int(said.sum()), 1)
    recall = hits / max(int(real.sum()), 1)
    return Metrics(
        rows=len(target),
        positives=int(real.sum()),
        accuracy=float((said == real).mean()),
        precision=precision,
        recall=recall,
        f1_score=2 * hits / max(int(said.sum()) + int(real.sum()), 1),
        roc_auc=roc_auc(target, probabilities),
        brier=float(np.mean((probabilities - target) ** 2)),
        log_loss=log_loss(target, probabilities),
        ece=expected_calibration_error(target, probabilities),
    )


def log_losses(target: Targets, probabilities: Floats) -> Floats:
    """Of every row, in nats."""
    sure = np.clip(probabilities, _SURE, 1 - _SURE)
    losses: Floats = -np.where(target == 1, np.log(sure), np.log1p(-sure))
    return losses


def log_loss(target: Targets, probabilities: Floats) -> float:
    return float(log_losses(target, probabilities).mean())


def roc_auc(target: Targets, scores: Floats) -> float | None:
    """Probability that a random 1 scores above a random 0, ties half (Mann-Whitney)."""
    positives = int((target == 1).sum())
    negatives = len(target) - positives
    if not positives or not negatives:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    above = ranks[places][target == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def expected_calibration_error(target: Targets, probabilities: Floats) -> float:
    """Mean distance between what was said and what came true, over bins of equal width
    weighted by their rows (Naeini, Cooper and Hauskrecht 2015).
    """
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=target - probabilities, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(target))
