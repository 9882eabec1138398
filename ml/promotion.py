"""Whether a newly trained model may replace the one that answers now."""

from dataclasses import dataclass

from ml.metrics import Metrics, measure
from ml.scoring import Scorer, TrainedScorer
from ml.training import TrainedModel

LOG_LOSS_TOLERANCE = 1e-9
"""In nats: covers the rounding of a sum, and no loss of quality. A larger one would let a
champion get worse step by step."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both measured on the same rows. `champion` is None where there was none to compare with."""

    promote: bool
    candidate: Metrics
    champion: Metrics | None
    reason: str


def is_not_worse(candidate: Metrics, champion: Metrics) -> bool:
    """By log loss, on the same hold-out: it falls with every error of order or of calibration.

    Raises ValueError for metrics of different rows.
    """
    if (candidate.rows, candidate.positives) != (champion.rows, champion.positives):
        raise ValueError("candidate and champion were measured on different rows")
    return candidate.log_loss <= champion.log_loss + LOG_LOSS_TOLERANCE


def compare(candidate: TrainedModel, champion: Scorer | None) -> Comparison:
    """Measures the champion on the candidate's hold-out. A mock or no champion is always beaten.

    A champion whose features the hold-out's columns don't have cannot be compared, and stays.
    """
    if not isinstance(champion, TrainedScorer):
        return Comparison(True, candidate.metrics, None, "there was no champion")
    holdout = candidate.holdout
    try:
        scores = champion.score_columns(holdout.columns)
    except (KeyError, TypeError, ValueError):
        reason = "the champion has other features: choose by hand"
        return Comparison(False, candidate.metrics, None, reason)
    measured = measure(holdout.target, scores)
    promote = is_not_worse(candidate.metrics, measured)
    reason = (
        f"log loss {candidate.metrics.log_loss:.4f}, champion {measured.log_loss:.4f} "
        f"on the same {measured.rows} rows"
    )
    return Comparison(promote, candidate.metrics, measured, reason)
