"""Reads over the model registry."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import BigInteger, Row, Select, column, func, select, true, tuple_, values

from db.models import Model, ModelAlias, ModelAliasEvent, ModelMetric, ModelVersion, TrainingRun
from db.models.metadata import Table
from db.models.models import AliasName
from db.session import Reader

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelRow:
    id: int
    key: str
    name: str
    description: str | None
    task: str
    price: Decimal
    features: list[Any]


@dataclass(frozen=True, slots=True)
class VersionRow:
    id: int
    model_id: int
    version: str
    model_type: str
    sha256: str
    path: str
    rows: int | None
    metrics: dict[str, Any]
    trained_at: datetime


@dataclass(frozen=True, slots=True)
class AliasEventRow:
    id: int
    alias: str
    from_version_id: int | None
    to_version_id: int | None
    by_user_id: UUID | None
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class RunRow:
    id: UUID
    model_id: int
    status: str
    promoted: bool
    version_id: int | None
    metrics: dict[str, Any] | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class MetricRow:
    date: date
    version: str
    accuracy: float
    precision: float
    recall: float
    f1_score: float
    roc_auc: float | None


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """What a serving process must have loaded."""

    version_id: int
    version: str
    sha256: str
    path: str


def _models() -> Select[Any]:
    return select(
        Model.id,
        Model.key,
        Model.name,
        Model.description,
        Model.task,
        Model.price,
        Model.features,
    )


def _versions() -> Select[Any]:
    return select(
        ModelVersion.id,
        ModelVersion.model_id,
        ModelVersion.version,
        ModelVersion.model_type,
        ModelVersion.sha256,
        ModelVersion.path,
        ModelVersion.rows,
        ModelVersion.metrics,
        ModelVersion.trained_at,
    )


def _runs() -> Select[Any]:
    return select(
        TrainingRun.id,
        TrainingRun.model_id,
        TrainingRun.status,
        TrainingRun.promoted,
        TrainingRun.version_id,
        TrainingRun.metrics,
        TrainingRun.error,
        TrainingRun.created_at,
        TrainingRun.started_at,
        TrainingRun.finished_at,
    )


def _paid(statement: Select[Any], paid_only: bool) -> Select[Any]:
    return statement.where(Model.price > 0) if paid_only else statement


async def models_page(reader: Reader, limit: int, after_id: int, paid_only: bool) -> list[ModelRow]:
    statement = _paid(_models(), paid_only).where(Model.id > after_id).order_by(Model.id)
    return [ModelRow(*row) for row in await reader.execute(statement.limit(limit))]


async def count_models(reader: Reader, paid_only: bool) -> int:
    statement = _paid(select(func.count()).select_from(Model), paid_only)
    count: int = (await reader.execute(statement)).scalar_one()
    return count


async def models_by_id(reader: Reader, model_ids: Sequence[int]) -> dict[int, ModelRow]:
    rows = await reader.execute(_models().where(Model.id.in_(model_ids)))
    return {row.id: ModelRow(*row) for row in rows}


async def model_by_key(reader: Reader, key: str) -> ModelRow | None:
    row = (await reader.execute(_models().where(Model.key == key))).one_or_none()
    return ModelRow(*row) if row else None


async def versions_by_id(reader: Reader, version_ids: Sequence[int]) -> dict[int, VersionRow]:
    rows = await reader.execute(_versions().where(ModelVersion.id.in_(version_ids)))
    return {row.id: VersionRow(*row) for row in rows}


async def versions_by_model_alias(
    reader: Reader, keys: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], VersionRow]:
    """By (model id, alias)."""
    statement = (
        _versions()
        .add_columns(ModelAlias.alias)
        .join(ModelAlias, ModelAlias.version_id == ModelVersion.id)
        .where(tuple_(ModelAlias.model_id, ModelAlias.alias).in_(keys))
    )
    rows = await reader.execute(statement)
    return {(row.model_id, row.alias): VersionRow(*row[:-1]) for row in rows}


async def aliases_by_version(reader: Reader, version_ids: Sequence[int]) -> dict[int, list[str]]:
    rows = await reader.execute(
        select(ModelAlias.version_id, ModelAlias.alias)
        .where(ModelAlias.version_id.in_(version_ids))
        .order_by(ModelAlias.alias)
    )
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row.version_id, []).append(row.alias)
    return found


def _newest_of_each(
    statement: Select[*tuple[Any, ...]], table: type[Table], model_ids: Sequence[int], limit: int
) -> Select[Any]:
    """The first rows of an ordered statement for each model: one LATERAL join, not a query each."""
    wanted = values(column("id", BigInteger), name="wanted").data([(id,) for id in model_ids])
    owner = table.__table__.c.model_id
    rows = statement.where(owner == wanted.c.id).limit(limit).lateral("rows")
    return select(wanted.c.id, *rows.c).join_from(wanted, rows, true())


async def versions_pages(
    reader: Reader, model_ids: Sequence[int], limit: int, before_id: int | None
) -> dict[int, list[VersionRow]]:
    """By model, newest first."""
    statement = _versions().order_by(ModelVersion.id.desc())
    if before_id is not None:
        statement = statement.where(ModelVersion.id < before_id)
    rows = await reader.execute(_newest_of_each(statement, ModelVersion, model_ids, limit))
    return _by_model(rows, VersionRow)


async def version_counts(reader: Reader, model_ids: Sequence[int]) -> dict[int, int]:
    rows = await reader.execute(
        select(ModelVersion.model_id, func.count())
        .where(ModelVersion.model_id.in_(model_ids))
        .group_by(ModelVersion.model_id)
    )
    return {row[0]: row[1] for row in rows}


async def alias_events(
    reader: Reader, model_ids: Sequence[int], limit: int
) -> dict[int, list[AliasEventRow]]:
    """By model, newest first."""
    statement = select(
        ModelAliasEvent.id,
        ModelAliasEvent.alias,
        ModelAliasEvent.from_version_id,
        ModelAliasEvent.to_version_id,
        ModelAliasEvent.by_user_id,
        ModelAliasEvent.reason,
        ModelAliasEvent.at,
    ).order_by(ModelAliasEvent.at.desc(), ModelAliasEvent.id.desc())
    rows = await reader.execute(_newest_of_each(statement, ModelAliasEvent, model_ids, limit))
    return _by_model(rows, AliasEventRow)


async def training_runs(
    reader: Reader, model_ids: Sequence[int], limit: int
) -> dict[int, list[RunRow]]:
    """By model, newest first."""
    statement = _runs().order_by(TrainingRun.created_at.desc(), TrainingRun.id.desc())
    rows = await reader.execute(_newest_of_each(statement, TrainingRun, model_ids, limit))
    return _by_model(rows, RunRow)


def _by_model(rows: Iterable[Row[Any]], kind: Callable[..., T]) -> dict[int, list[T]]:
    found: dict[int, list[T]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(kind(*row[1:]))
    return found


async def training_run(reader: Reader, run_id: UUID) -> RunRow | None:
    row = (await reader.execute(_runs().where(TrainingRun.id == run_id))).one_or_none()
    return RunRow(*row) if row else None


async def metrics_histories(
    reader: Reader, model_ids: Sequence[int], scope: str, since: date, limit: int
) -> dict[int, list[MetricRow]]:
    """By model, newest first; days before `since` are left out."""
    statement = (
        select(
            ModelMetric.date,
            ModelVersion.version,
            ModelMetric.accuracy,
            ModelMetric.precision,
            ModelMetric.recall,
            ModelMetric.f1_score,
            ModelMetric.roc_auc,
        )
        .join(ModelVersion, ModelVersion.id == ModelMetric.version_id)
        .where(ModelMetric.scope == scope, ModelMetric.date >= since)
        .order_by(ModelMetric.date.desc(), ModelVersion.id.desc())
    )
    rows = await reader.execute(_newest_of_each(statement, ModelVersion, model_ids, limit))
    return _by_model(rows, MetricRow)


async def champions_by_key(reader: Reader) -> dict[str, ServedVersion | None]:
    """Of every model; None for one without a champion."""
    rows = await reader.execute(
        select(
            Model.key,
            ModelVersion.id,
            ModelVersion.version,
            ModelVersion.sha256,
            ModelVersion.path,
        )
        .outerjoin(
            ModelAlias,
            (ModelAlias.model_id == Model.id) & (ModelAlias.alias == AliasName.CHAMPION),
        )
        .outerjoin(ModelVersion, ModelVersion.id == ModelAlias.version_id)
    )
    return {key: ServedVersion(id_, *rest) if id_ else None for key, id_, *rest in rows}
