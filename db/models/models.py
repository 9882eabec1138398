"""The model registry: models, their versions, the aliases that serve, runs and metrics."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.models.jobs import JobStatus
from db.models.metadata import Table, one_of


class ModelTask(StrEnum):
    CLASSIFICATION = "CLASSIFICATION"
    REGRESSION = "REGRESSION"
    FORECAST = "FORECAST"


class AliasName(StrEnum):
    CHAMPION = "CHAMPION"
    SHADOW = "SHADOW"


class Model(Table):
    __tablename__ = "models"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    description: Mapped[str | None]
    task: Mapped[str]
    price: Mapped[Decimal] = mapped_column(server_default=text("0"))
    features: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (one_of("task", ModelTask), CheckConstraint("price >= 0", name="price"))


class ModelVersion(Table):
    """One trained artifact. `path` is a file name; the folder is the reader's setting."""

    __tablename__ = "model_versions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    version: Mapped[str]
    model_type: Mapped[str]
    sha256: Mapped[str]
    path: Mapped[str]
    rows: Mapped[int | None]
    metrics: Mapped[dict[str, Any]]
    library_versions: Mapped[dict[str, Any]]
    trained_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("model_id", "version"),
        # lets an alias or a run refer to (version, model) together: never another model's version
        UniqueConstraint("id", "model_id"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    )


def _version_of_same_model(version_column: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        [version_column, "model_id"], ["model_versions.id", "model_versions.model_id"]
    )


class ModelAlias(Table):
    """The primary key makes a second champion of one model impossible."""

    __tablename__ = "model_aliases"

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[int]

    __table_args__ = (
        one_of("alias", AliasName),
        _version_of_same_model("version_id"),
        Index(None, "version_id", "model_id"),
    )


class ModelAliasEvent(Table):
    """Who served when. Append-only: a trigger refuses UPDATE and DELETE."""

    __tablename__ = "model_alias_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    alias: Mapped[str]
    from_version_id: Mapped[int | None]
    to_version_id: Mapped[int | None]
    by_user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"))
    reason: Mapped[str | None]
    at: Mapped[datetime]

    __table_args__ = (
        one_of("alias", AliasName),
        _version_of_same_model("from_version_id"),
        _version_of_same_model("to_version_id"),
        Index(None, "model_id", "at", "id"),
        Index(None, "from_version_id", "model_id"),
        Index(None, "to_version_id", "model_id"),
        Index(None, "by_user_id"),
    )


class TrainingRun(Table):
    __tablename__ = "training_runs"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    status: Mapped[str] = mapped_column(server_default=JobStatus.QUEUED)
    promote: Mapped[bool]
    promoted: Mapped[bool] = mapped_column(server_default=text("false"))
    version_id: Mapped[int | None]
    metrics: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("status", JobStatus),
        _version_of_same_model("version_id"),
        Index(
            "training_runs_one_open_per_model",
            "model_id",
            unique=True,
            postgresql_where=text("status IN ('QUEUED', 'RUNNING')"),
        ),
        Index(None, "model_id", "created_at", "id"),
        Index(None, "job_id"),
        Index(None, "version_id", "model_id"),
    )


class ModelMetric(Table):
    """One row a version, scope and day: 'holdout' at training, others as they are measured."""

    __tablename__ = "model_metrics"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"))
    scope: Mapped[str]
    date: Mapped[date]
    accuracy: Mapped[float]
    precision: Mapped[float]
    recall: Mapped[float]
    f1_score: Mapped[float]
    roc_auc: Mapped[float | None]

    __table_args__ = (UniqueConstraint("version_id", "scope", "date"), Index(None, "date"))
