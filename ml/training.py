"""Trains a classifier on any table whose columns a feature specification describes."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import joblib
import numpy as np
import sklearn
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ml.artifacts import Artifact, dump_estimator
from ml.binning import fit_binner
from ml.compilation import compile_ensemble
from ml.ensemble import CalibratedEnsemble, calibrate, cross_fit
from ml.families import DEFAULT_FAMILIES, Design, Family, Member, design_of
from ml.features import Spec
from ml.featurizer import Featurizer, Floats, is_categorical, learn_vocabularies
from ml.metrics import Metrics, log_loss, measure
from ml.scoring import TrainedScorer, probabilities
from ml.splits import FOLDS, Split, folds_of, require_enough, split_table
from ml.tables import Table

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, name of the present stage)."""


def no_progress(done: int, total: int, stage: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class TrainedModel:
    """`metrics` were measured on `holdout`, rows that nothing of the model was trained on."""

    artifact: Artifact
    metrics: Metrics
    holdout: Table
    candidates: dict[str, float]
    """Log loss of every family, on rows unseen by the member that scored them."""
    estimator: CalibratedEnsemble

    @property
    def scorer(self) -> TrainedScorer:
        return self.artifact.scorer

    @property
    def model_type(self) -> str:
        return self.artifact.model_type

    @property
    def rows(self) -> int:
        return self.artifact.rows


@dataclass(frozen=True)
class _Candidate:
    family: Family
    members: list[Member]
    slope: float
    intercept: float
    log_loss: float


def train(
    table: Table,
    spec: Spec,
    *,
    key: str,
    seed: int = 0,
    progress: Progress = no_progress,
    split: Split | None = None,
    families: Sequence[Family] = DEFAULT_FAMILIES,
) -> TrainedModel:
    """The family with the lowest log loss, calibrated, measured on a hold-out.

    The same table, spec and seed give the same model. Raises NotEnoughData, and KeyError for a
    feature without column. `split` replaces the honest split of ml.splits where the caller
    knows a better one.
    """
    parts = split or split_table(table)
    training, holdout = table.take(parts.training), table.take(parts.holdout)
    require_enough(training.target)
    steps = _Steps(progress, len(families) * FOLDS + 2)
    # One thread: sums are then added in one order on every machine, and trees as small as these
    # gain nothing from two threads that wait for each other.
    with threadpool_limits(limits=1):
        featurizer, matrix, design = _prepare(training, spec)
        steps.done("prepare")
        chosen, losses = _choose(families, design, matrix, training, seed, steps)
        ensemble = CalibratedEnsemble(design.binner, chosen.members, chosen.slope, chosen.intercept)
        form = compile_ensemble(ensemble, design)
        scorer = TrainedScorer(featurizer, design.binner, form, chosen.family.name)
        metrics = measure(holdout.target, scorer.score_columns(holdout.columns))
        steps.done("measure")
    artifact = Artifact(
        key=key,
        model_type=chosen.family.name,
        spec=spec,
        scorer=scorer,
        estimator=dump_estimator(ensemble),
        metrics=dict(metrics.to_json()),
        libraries=library_versions(),
        rows=len(training),
        seed=seed,
    )
    return TrainedModel(artifact, metrics, holdout, losses, ensemble)


def library_versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "joblib": joblib.__version__,
    }


def _prepare(training: Table, spec: Spec) -> tuple[Featurizer, Floats, Design]:
    featurizer = Featurizer(spec, learn_vocabularies(spec, training.columns))
    matrix = featurizer.matrix_of_columns(training.columns)
    categorical = tuple(is_categorical(feature) for feature in featurizer.features)
    return featurizer, matrix, design_of(fit_binner(matrix, categorical), categorical, matrix)


def _choose(
    families: Sequence[Family],
    design: Design,
    matrix: Floats,
    training: Table,
    seed: int,
    steps: "_Steps",
) -> tuple[_Candidate, dict[str, float]]:
    folds = folds_of(training, seed)
    codes, weights = design.binner.codes(matrix), _weights(training)
    best: _Candidate | None = None
    losses: dict[str, float] = {}
    for family in families:
        members, unseen = cross_fit(
            family,
            design,
            codes,
            training.target,
            weights,
            folds,
            seed,
            on_fold=lambda name=family.name: steps.done(name),  # type: ignore[misc]
        )
        slope, intercept = calibrate(unseen, training.target)
        loss = log_loss(training.target, probabilities(slope * unseen + intercept))
        losses[family.name] = loss
        # only the best so far is kept: the members of every family at once are much memory
        if best is None or loss < best.log_loss:
            best = _Candidate(family, members, slope, intercept, loss)
    if best is None:
        raise ValueError("there is no family to choose from")
    return best, losses


def _weights(training: Table) -> Floats:
    """A group of n rows weighs as much as the square root of n rows: its rows repeat each other."""
    if training.groups is None:
        return np.ones(len(training))
    _, group, counts = np.unique(training.groups, return_inverse=True, return_counts=True)
    weights: Floats = 1 / np.sqrt(counts[group])
    return weights


class _Steps:
    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def done(self, stage: str) -> None:
        self._done += 1
        self._progress(self._done, self._total, stage)
