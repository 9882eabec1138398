"""`make quality`: how good the models are, beside their targets.

Exits 1 when a target is missed. The attendance model is measured on generated buyers, whose best
possible answer is known; the hotel bookings need a data folder (--data or AUSPEX_QUALITY_DATA)
and are left out, plainly, where it is not there.
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ml.attendance.generator import generate, posterior
from ml.attendance.training import GENERATED_ROWS, train_attendance
from ml.metrics import measure
from ml.training import train

ROOT = Path(__file__).resolve().parents[1]
FRESH_SEED = 7_777
EXCESS_TARGET = 0.012
ECE_TARGET = 0.02
HOTEL_TARGET = 0.806
HOTEL_LATER_TARGET = 0.812


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    target: float
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        verdict = "met" if self.met else "MISSED"
        return (
            f"{self.name:<44} {self.value:8.4f}   target {sign} {self.target:<6} {verdict}"
            f"{'   ' if self.note else ''}{self.note}"
        )


def attendance() -> list[Figure]:
    """Trained on what `auspex train` generates, measured on as many fresh rows."""
    started = time.perf_counter()
    model = train_attendance(seed=0)
    seconds = time.perf_counter() - started
    fresh = generate(GENERATED_ROWS, FRESH_SEED).table
    best = measure(fresh.target, posterior(fresh.columns))
    ours = measure(fresh.target, model.scorer.score_columns(fresh.columns))
    print(
        f"attendance: {model.model_type} on {model.rows} of {GENERATED_ROWS} generated rows in "
        f"{seconds:.1f} s; on {ours.rows} fresh rows log loss {ours.log_loss:.4f} (Bayes "
        f"{best.log_loss:.4f}), ROC AUC {ours.roc_auc:.4f} (Bayes {best.roc_auc:.4f})"
    )
    return [
        Figure("attendance log loss above Bayes", ours.log_loss - best.log_loss, EXCESS_TARGET),
        Figure("attendance expected calibration error", ours.ece, ECE_TARGET),
    ]


def hotel(data: Path) -> list[Figure]:
    """Bookings made after October 2016, by a model of what was decided before."""
    try:
        # pyarrow is in the group `quality` only
        from benchmarks.quality_hotel import FILE, HOTEL_SPEC, read_hotel  # noqa: PLC0415
    except ImportError as error:
        print(f"hotel bookings: left out, {error.name} is not installed (uv sync --group quality)")
        return []
    if not (data / FILE).exists():
        print(f"hotel bookings: left out, there is no {data / FILE}")
        return []
    table, split = read_hotel(data)
    started = time.perf_counter()
    model = train(table, HOTEL_SPEC, key="hotel", split=split)
    seconds = time.perf_counter() - started
    metrics = model.metrics
    print(
        f"hotel bookings: {model.model_type} on {model.rows} rows in {seconds:.1f} s; on "
        f"{metrics.rows} later ones log loss {metrics.log_loss:.4f}, ECE {metrics.ece:.4f}, "
        f"accuracy {metrics.accuracy:.4f}"
    )
    auc = metrics.roc_auc or 0.0
    later = f"(a later target: {HOTEL_LATER_TARGET})"
    return [Figure("hotel bookings ROC AUC", auc, HOTEL_TARGET, at_least=True, note=later)]


def data_folder() -> Path:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("AUSPEX_QUALITY_DATA") or ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default), help="folder of the data sets")
    folder: Path = parser.parse_args().data
    return folder


def main() -> int:
    figures = attendance() + hotel(data_folder())
    print()
    for figure in figures:
        print(figure)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
