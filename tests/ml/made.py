"""Small tables and models, made where a test needs them."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.families import BoostedTrees, LogisticSplines
from ml.features import Feature, FeatureType, Spec, check_spec
from ml.tables import Table
from ml.training import TrainedModel, train

TREES = BoostedTrees("boosted_trees", leaves=8, rounds=20, rows_per_leaf=5)
SPLINES = LogisticSplines()
COLOURS = ("blue", "green", "red")

SPEC: Spec = check_spec(
    [
        Feature("hours-per-week", FeatureType.FLOAT, required=False, minimum=0, maximum=80),
        Feature("absences", FeatureType.INT, required=False, default=2, minimum=0),
        Feature("repeats", FeatureType.BOOLEAN, required=False),
        Feature("colour", FeatureType.STRING, required=False, choices=COLOURS),
        Feature("town", FeatureType.STRING, required=False),
        Feature("nickname", FeatureType.STRING, required=False, modelled=False),
    ]
)


def make_columns(rows: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Every kind of column, a tenth of the values missing."""
    columns: dict[str, NDArray[Any]] = {
        "hours-per-week": rng.uniform(0, 80, rows),
        "absences": rng.poisson(3, rows).astype(np.float64),
        "repeats": rng.integers(2, size=rows).astype(np.float64),
        "colour": np.array(COLOURS, dtype=object)[rng.integers(3, size=rows)],
        "town": np.array(["Lima", "Quito", "Cusco"], dtype=object)[rng.integers(3, size=rows)],
        "nickname": np.array(["x"] * rows, dtype=object),
    }
    for name, column in columns.items():
        if name != "nickname":
            column[rng.random(rows) < 0.1] = np.nan if column.dtype != object else None
    return columns


def make_table(rows: int = 400, seed: int = 0) -> Table:
    """Outcomes that follow hours, colour and town, the last two together."""
    rng = np.random.default_rng(seed)
    columns = make_columns(rows, rng)
    log_odds = np.nan_to_num(columns["hours-per-week"] / 20 - 2)
    log_odds += np.where((columns["colour"] == "red") & (columns["town"] == "Lima"), 3.0, -0.5)
    chances = 1 / (1 + np.exp(-log_odds))
    return Table(columns, (rng.random(rows) < chances).astype(np.int64))


@cache
def make_model(family: BoostedTrees | LogisticSplines = TREES) -> TrainedModel:
    return train(make_table(), SPEC, key="made", families=[family])


PAYLOAD: dict[str, Any] = {
    "hours-per-week": 12.5,
    "absences": 3,
    "repeats": True,
    "colour": "red",
    "town": "Lima",
    "nickname": "Pepe",
}


def feature(kind: str = "FLOAT", name: str = "x", **fields: Any) -> Feature:
    return Feature(name, FeatureType(kind), **fields)
