"""Synthetic ticket buyers whose best possible answer is known.

A row is drawn in three steps: a latent type (fan, casual, reseller, bot), then every feature
from its density given the type, independently, then the outcome given the type, the distance and
the attendance rate. So for any row x, with all densities in closed form,

    P(type | x) = prior(type) * prod_f density_f(x_f | type) / sum over types
    P(attended | x) = sum over types of P(type | x) * P(attended | type, distance, rate)

is the best answer any model can give, and its log loss on the same rows is the floor.
Age, country and city are drawn from one density for all types: they carry no information.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.attendance.densities import Bernoulli, Density, Gamma, NegativeBinomial, ZeroInflatedBeta
from ml.attendance.identities import draw_identities, email_features
from ml.featurizer import Columns, Floats
from ml.tables import Table

TYPES = ("fan", "casual", "reseller", "bot")
PRIOR = np.array([0.46, 0.34, 0.14, 0.06])
_NEVER = (0.0, 0.0, 0.0, 0.0)

DENSITIES: dict[str, Density] = {
    "email_digits": NegativeBinomial(mean=(0.8, 0.9, 1.6, 4.5), shape=(0.8, 0.8, 0.9, 1.8)),
    "email_disposable": Bernoulli(one=(0.004, 0.006, 0.08, 0.35)),
    "account_age_days": NegativeBinomial(mean=(900, 620, 330, 60), shape=(1.5, 1.3, 1.1, 0.9)),
    "purchases_last_12_months": NegativeBinomial(
        mean=(5.5, 3.0, 11, 15), shape=(2.2, 1.6, 2.0, 1.6)
    ),
    "canceled_orders": NegativeBinomial(mean=(0.35, 0.4, 1.1, 1.0), shape=(1.4, 1.2, 1.2, 0.9)),
    "tickets_per_order_avg": Gamma(
        shape=(2.0, 2.0, 2.2, 2.4), scale=(0.55, 0.6, 1.3, 1.9), start=1.0
    ),
    "distance_to_venue_km": Gamma(shape=(1.1, 1.1, 1.0, 0.9), scale=(18, 28, 190, 420)),
    "payment_failures_ratio": ZeroInflatedBeta(
        zero=(0.72, 0.68, 0.5, 0.28), a=(1.3, 1.3, 1.5, 1.8), b=(14, 12, 8, 5)
    ),
    "event_affinity_score": ZeroInflatedBeta(
        zero=_NEVER, a=(4.2, 2.8, 2.2, 1.7), b=(2.2, 2.5, 3.2, 3.6)
    ),
    "night_purchase_ratio": ZeroInflatedBeta(
        zero=(0.3, 0.3, 0.2, 0.08), a=(1.6, 1.7, 2.0, 2.2), b=(6.0, 5.6, 4.0, 2.2)
    ),
    "resale_reports_count": NegativeBinomial(
        mean=(0.03, 0.04, 0.9, 1.0), shape=(0.6, 0.6, 0.8, 0.8)
    ),
    "attendance_rate": ZeroInflatedBeta(
        zero=_NEVER, a=(8.5, 5.5, 2.2, 1.4), b=(1.6, 1.8, 2.6, 3.0)
    ),
}

_OUTCOME_START = np.array([3.0, 2.0, -3.0, -4.5])
_OUTCOME_BY_LOG_KM = np.array([-0.2, -0.35, -0.1, 0.0])
_OUTCOME_BY_RATE = np.array([1.2, 1.6, 1.0, 0.0])


@dataclass(frozen=True)
class Generated:
    """A table with the 14 inputs and the outcome, and the type that nobody sees."""

    table: Table
    types: NDArray[np.int64]


def generate(rows: int, seed: int) -> Generated:
    """`rows` independent buyers; the same seed gives the same rows."""
    rng = np.random.default_rng(seed)
    types = rng.choice(len(TYPES), size=rows, p=PRIOR)
    drawn = {name: density.draw(types, rng) for name, density in DENSITIES.items()}
    # who bought nothing has no tickets an order
    no_orders = drawn["purchases_last_12_months"] == 0
    drawn["tickets_per_order_avg"] = np.where(no_orders, 0.0, drawn["tickets_per_order_avg"])
    digits, disposable = drawn.pop("email_digits"), drawn.pop("email_disposable")
    columns = draw_identities(digits, disposable, rng) | drawn
    chances = _chances(columns)[np.arange(rows), types]
    return Generated(Table(columns, (rng.random(rows) < chances).astype(np.int64)), types)


def posterior(columns: Columns) -> Floats:
    """P(attended | x) of every row, shape (rows,): the Bayes-optimal probability."""
    result: Floats = (type_posterior(columns) * _chances(columns)).sum(axis=1)
    return result


def type_posterior(columns: Columns) -> Floats:
    """P(type | x), shape (rows, types), in the order of TYPES."""
    digits, disposable = email_features(columns["email"])
    values: dict[str, NDArray[Any]] = {
        **columns,
        "email_digits": digits,
        "email_disposable": disposable,
    }
    total = np.tile(np.log(PRIOR), (len(digits), 1))
    for name, density in DENSITIES.items():
        part = density.log_density(np.asarray(values[name], dtype=np.float64))
        if name == "tickets_per_order_avg":
            part = np.where((values[name] == 0)[:, None], 0.0, part)
        total += part
    weights = np.exp(total - total.max(axis=1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _chances(columns: Columns) -> Floats:
    """P(attended | type, distance, rate), shape (rows, types)."""
    log_km = np.log1p(columns["distance_to_venue_km"])[:, None] - 3.0
    rate = columns["attendance_rate"][:, None] - 0.75
    log_odds = _OUTCOME_START + _OUTCOME_BY_LOG_KM * log_km + _OUTCOME_BY_RATE * rate
    chances: Floats = 1 / (1 + np.exp(-log_odds))
    return chances
