"""One training from start to file: what the command does here, and a worker in a child process."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.transactions.models import TrainedArtifact
from ml.artifacts import ArtifactError, load_artifact, save_artifact
from ml.attendance.spec import KEY as ATTENDANCE_KEY
from ml.attendance.training import train_attendance
from ml.promotion import Comparison, compare
from ml.scoring import Scorer
from ml.tables import Table
from ml.training import Progress, TrainedModel, no_progress


@dataclass(frozen=True)
class TrainingOrder:
    """`champion` is the file and hash of the version to be beaten; no rows: generated ones."""

    key: str
    folder: Path
    champion: tuple[Path, str] | None = None
    rows: Table | None = None
    seed: int = 0


@dataclass(frozen=True)
class TrainedFile:
    artifact: TrainedArtifact
    comparison: Comparison
    candidates: dict[str, float] = field(default_factory=dict)


def carry_out(order: TrainingOrder, progress: Progress = no_progress) -> TrainedFile:
    """Trains, compares with the champion on the same rows, and writes the artifact.

    Raises NotEnoughData; then nothing was written.
    """
    if order.key != ATTENDANCE_KEY:
        raise ValueError(f"there is no training for a model '{order.key}'")
    trained = train_attendance(order.rows, seed=order.seed, progress=progress)
    comparison = compare(trained, _champion(order))
    return TrainedFile(_saved(order, trained), comparison, trained.candidates)


def _champion(order: TrainingOrder) -> Scorer | None:
    if order.champion is None:
        return None
    try:
        return load_artifact(*order.champion)
    except ArtifactError:
        return None  # it can't serve either: anything is better


def _saved(order: TrainingOrder, trained: TrainedModel) -> TrainedArtifact:
    # The name is the content's: two trainings at once can't write over each other.
    draft = order.folder / f"{order.key}-{os.getpid()}.draft"
    sha256 = save_artifact(trained.artifact, draft)
    name = f"{order.key}-{sha256[:16]}.joblib"
    draft.replace(order.folder / name)
    metrics: dict[str, Any] = trained.artifact.metrics
    return TrainedArtifact(
        model_type=trained.model_type,
        sha256=sha256,
        path=name,
        rows=trained.rows,
        metrics=metrics,
        library_versions=trained.artifact.libraries,
    )
