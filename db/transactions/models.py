"""Changes to the model registry: versions, the aliases that serve, training runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import InputRejected, TrainingInProgress
from db.models import Model, ModelAlias, ModelAliasEvent, ModelMetric, ModelVersion, TrainingRun
from db.models.jobs import JobStatus
from db.models.models import AliasName, ModelTask
from db.outbox import enqueue

HOLDOUT = "holdout"
LONGEST_ERROR = 2_000
TRAIN_ACTOR = "models.train"
TRAIN_ATTEMPTS = 3


@dataclass(frozen=True)
class ModelDefinition:
    """A model that the code itself brings."""

    key: str
    name: str
    description: str
    task: ModelTask
    features: list[dict[str, Any]]


@dataclass(frozen=True)
class TrainedArtifact:
    """What a training left on disk, and how good it is."""

    model_type: str
    sha256: str
    path: str
    rows: int
    metrics: Mapping[str, Any]
    library_versions: Mapping[str, Any]


@dataclass(frozen=True)
class RegisteredVersion:
    id: int
    version: str
    promoted: bool


async def ensure_model(session: AsyncSession, definition: ModelDefinition, now: datetime) -> int:
    """The model's id; its row is made, or its texts and features brought up to date."""
    values = {
        "name": definition.name,
        "description": definition.description,
        "task": definition.task,
        "features": definition.features,
    }
    made = await session.execute(
        insert(Model)
        .values(key=definition.key, created_at=now, **values)
        .on_conflict_do_update(index_elements=[Model.key], set_=values)
        .returning(Model.id)
    )
    return made.scalar_one()


async def request_training(
    session: AsyncSession, model_key: str, *, promote: bool, now: datetime
) -> UUID:
    """Queues a run of this model. Raises InputRejected (NOT_FOUND) or TrainingInProgress."""
    model_id = await session.scalar(select(Model.id).where(Model.key == model_key))
    if model_id is None:
        raise InputRejected.one(
            "NOT_FOUND", ("input", "modelKey"), f"There is no model '{model_key[:80]}'"
        )
    run_id = uuid4()
    made = await session.execute(
        insert(TrainingRun)
        .values(id=run_id, model_id=model_id, promote=promote, created_at=now)
        .on_conflict_do_nothing(
            index_elements=[TrainingRun.model_id],
            index_where=TrainingRun.status.in_([JobStatus.QUEUED, JobStatus.RUNNING]),
        )
        .returning(TrainingRun.id)
    )
    if made.one_or_none() is None:
        raise TrainingInProgress(model_key)
    job_id = await enqueue(
        session, TRAIN_ACTOR, now=now, max_attempts=TRAIN_ATTEMPTS, run_id=str(run_id)
    )
    await session.execute(update(TrainingRun).where(TrainingRun.id == run_id).values(job_id=job_id))
    return run_id


async def start_training_run(session: AsyncSession, run_id: UUID, now: datetime) -> str | None:
    """The key of the model to train, or None if the run has succeeded already.

    A failed run starts again when an operator retries its job.
    """
    started = await session.execute(
        update(TrainingRun)
        .where(
            TrainingRun.id == run_id,
            TrainingRun.status.in_([JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FAILED]),
        )
        .values(
            status=JobStatus.RUNNING,
            started_at=func.coalesce(TrainingRun.started_at, now),
            finished_at=None,
            error=None,
        )
        .returning(TrainingRun.model_id)
    )
    model_id = started.scalar_one_or_none()
    if model_id is None:
        return None
    return await session.scalar(select(Model.key).where(Model.id == model_id))


async def finish_training_run(
    session: AsyncSession,
    run_id: UUID,
    artifact: TrainedArtifact,
    *,
    better_than: int | None,
    good_enough: bool,
    now: datetime,
) -> RegisteredVersion:
    """Registers the run's artifact and, if the run asked for it and it is good enough, promotes it.

    `better_than` is the id of the champion it was measured against (None: there was none).
    """
    run = (
        await session.execute(
            select(TrainingRun.model_id, TrainingRun.promote).where(TrainingRun.id == run_id)
        )
    ).one()
    registered = await register_version(
        session,
        run.model_id,
        artifact,
        promote=run.promote and good_enough,
        better_than=better_than,
        reason=f"training run {run_id}",
        now=now,
    )
    await session.execute(
        update(TrainingRun)
        .where(TrainingRun.id == run_id)
        .values(
            status=JobStatus.SUCCEEDED,
            version_id=registered.id,
            promoted=registered.promoted,
            metrics=dict(artifact.metrics),
            finished_at=now,
        )
    )
    return registered


async def fail_training_run(session: AsyncSession, run_id: UUID, error: str, now: datetime) -> None:
    await session.execute(
        update(TrainingRun)
        .where(
            TrainingRun.id == run_id,
            TrainingRun.status.in_([JobStatus.QUEUED, JobStatus.RUNNING]),
        )
        .values(status=JobStatus.FAILED, error=error[:LONGEST_ERROR], finished_at=now)
    )


async def register_version(
    session: AsyncSession,
    model_id: int,
    artifact: TrainedArtifact,
    *,
    promote: bool,
    better_than: int | None,
    reason: str,
    now: datetime,
) -> RegisteredVersion:
    """A new version row ('v1', 'v2', …) with its hold-out metrics.

    It becomes champion only if the champion is still the one it was measured against: another
    training may have promoted a better one meanwhile.
    """
    # The row lock gives concurrent trainings of one model their numbers one after the other.
    await session.execute(select(Model.id).where(Model.id == model_id).with_for_update())
    count = await session.scalar(select(func.count()).where(ModelVersion.model_id == model_id))
    version = ModelVersion(
        model_id=model_id,
        version=f"v{(count or 0) + 1}",
        model_type=artifact.model_type,
        sha256=artifact.sha256,
        path=artifact.path,
        rows=artifact.rows,
        metrics=dict(artifact.metrics),
        library_versions=dict(artifact.library_versions),
        trained_at=now,
    )
    session.add(version)
    await session.flush()
    await store_metrics(session, version.id, HOLDOUT, artifact.metrics, now)
    champion = await _aliased(session, model_id, AliasName.CHAMPION)
    if promote and champion == better_than:
        await set_alias(
            session, model_id, AliasName.CHAMPION, version.id, by=None, reason=reason, now=now
        )
        return RegisteredVersion(version.id, version.version, promoted=True)
    return RegisteredVersion(version.id, version.version, promoted=False)


async def store_metrics(
    session: AsyncSession, version_id: int, scope: str, metrics: Mapping[str, Any], now: datetime
) -> None:
    """One row a version, scope and day: a second measurement of a day replaces the first."""
    names = ("accuracy", "precision", "recall", "f1_score", "roc_auc")
    values = {name: metrics.get(name) for name in names}
    if values["accuracy"] is None:
        return  # not a classifier
    await session.execute(
        insert(ModelMetric)
        .values(version_id=version_id, scope=scope, date=now.date(), **values)
        .on_conflict_do_update(
            index_elements=[ModelMetric.version_id, ModelMetric.scope, ModelMetric.date],
            set_=values,
        )
    )


async def _aliased(session: AsyncSession, model_id: int, alias: AliasName) -> int | None:
    return await session.scalar(
        select(ModelAlias.version_id).where(
            ModelAlias.model_id == model_id, ModelAlias.alias == alias
        )
    )


async def set_alias(
    session: AsyncSession,
    model_id: int,
    alias: AliasName,
    version_id: int | None,
    *,
    by: UUID | None,
    reason: str | None,
    now: datetime,
) -> None:
    """Moves the alias and writes down who did it and why. Moving it to where it is does nothing.

    Raises InputRejected: NOT_FOUND for a model or a version of another model, REQUIRED for a
    champion without a version (a model that nobody serves is what a missing artifact is for).
    """
    locked = await session.scalar(select(Model.id).where(Model.id == model_id).with_for_update())
    if locked is None:
        raise InputRejected.one("NOT_FOUND", ("modelId",), "There is no such model")
    await _require_version(session, model_id, alias, version_id)
    before = await _aliased(session, model_id, alias)
    if before == version_id:
        return
    if version_id is None:
        await session.execute(
            delete(ModelAlias).where(ModelAlias.model_id == model_id, ModelAlias.alias == alias)
        )
    else:
        await session.execute(
            insert(ModelAlias)
            .values(model_id=model_id, alias=alias, version_id=version_id)
            .on_conflict_do_update(
                index_elements=[ModelAlias.model_id, ModelAlias.alias],
                set_={"version_id": version_id},
            )
        )
    session.add(
        ModelAliasEvent(
            model_id=model_id,
            alias=alias,
            from_version_id=before,
            to_version_id=version_id,
            by_user_id=by,
            reason=reason,
            at=now,
        )
    )
    await session.flush()


async def _require_version(
    session: AsyncSession, model_id: int, alias: AliasName, version_id: int | None
) -> None:
    if version_id is None:
        if alias is AliasName.CHAMPION:
            raise InputRejected.one("REQUIRED", ("versionId",), "A champion needs a version")
        return
    found = await session.scalar(
        select(func.count()).where(ModelVersion.id == version_id, ModelVersion.model_id == model_id)
    )
    if not found:
        raise InputRejected.one("NOT_FOUND", ("versionId",), "This model has no such version")
