"""The model registry: models, versions, features, training runs, metrics."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from datetime import date as Day  # noqa: N812 - a field is called date
from decimal import Decimal
from typing import Any, Self

import strawberry

from db.models.accounts import Role
from db.models.jobs import JobStatus as JobStatusName
from db.models.models import AliasName
from db.models.models import ModelTask as ModelTaskName
from db.queries import models as queries
from db.queries.accounts import users_by_id
from db.transactions.models import HOLDOUT
from schema.accounts import User
from schema.edge.arguments import After, Days, First, Limit, require_between
from schema.edge.connections import Connection, connection, page_request
from schema.edge.context import Info
from schema.edge.fields import link, query
from schema.edge.ids import global_id
from schema.edge.loaders import load
from schema.edge.nodes import Node
from schema.edge.user_errors import MutationPayload
from schema.features import FeatureSpec

MOST_DAYS = 365
MOST_METRICS = 1_000
MOST_LISTED = 100

ModelTask = strawberry.enum(ModelTaskName, name="ModelTask", description="What a model predicts.")
ModelAlias = strawberry.enum(
    AliasName,
    name="ModelAlias",
    description="CHAMPION answers; SHADOW is scored beside it on real traffic.",
)
JobStatus = strawberry.enum(
    JobStatusName, name="JobStatus", description="Where a piece of work is."
)


@strawberry.type(description="How good a classifier is on rows it was not trained on.")
class ClassificationMetrics:
    accuracy: float = strawberry.field(description="Share of right labels.")
    precision: float = strawberry.field(description="Share of real ones among those called so.")
    recall: float = strawberry.field(description="Share of the real ones that were found.")
    f1_score: float = strawberry.field(description="Harmonic mean of precision and recall.")
    roc_auc: float | None = strawberry.field(
        description="Probability that a real one scores above another; under 0.5 is reported as "
        "measured; null with one class only."
    )

    @classmethod
    def of(cls, metrics: dict[str, Any] | None) -> Self | None:
        if not metrics or metrics.get("accuracy") is None:
            return None
        return cls(
            accuracy=metrics["accuracy"],
            precision=metrics["precision"],
            recall=metrics["recall"],
            f1_score=metrics["f1_score"],
            roc_auc=metrics.get("roc_auc"),
        )


@strawberry.type(description="One trained artifact of a model.")
class ModelVersion(Node):
    version: str = strawberry.field(description="'v1', 'v2', … in the order of training.")
    model_type: str = strawberry.field(description="The estimator's family.")
    trained_at: datetime = strawberry.field(description="When its training ended.")
    rows: int | None = strawberry.field(description="Rows it was trained on.")
    sha256: str = strawberry.field(
        description="Hash of the artifact: it is loaded only if its file matches."
    )
    metrics: ClassificationMetrics | None = strawberry.field(
        description="On the hold-out of its training."
    )
    key: strawberry.Private[int]

    @classmethod
    def of(cls, row: queries.VersionRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("ModelVersion", row.id)),
            key=row.id,
            version=row.version,
            model_type=row.model_type,
            trained_at=row.trained_at,
            rows=row.rows,
            sha256=row.sha256,
            metrics=ClassificationMetrics.of(row.metrics),
        )

    @link(description="What it is used for now.")
    async def aliases(self, info: Info) -> list[ModelAlias]:  # type: ignore[valid-type]
        found = await load(info.context, queries.aliases_by_version, self.key)
        return [AliasName(alias) for alias in found or ()]


async def version_by_id(info: Info, version_id: int | None) -> ModelVersion | None:
    if version_id is None:
        return None
    row = await load(info.context, queries.versions_by_id, version_id)
    return ModelVersion.of(row) if row else None


@strawberry.type(description="A move of an alias.")
class AliasChange:
    alias: ModelAlias = strawberry.field(description="Which alias moved.")  # type: ignore[valid-type]
    reason: str | None = strawberry.field(description="Why, in the words of who did it.")
    at: datetime = strawberry.field(description="When.")
    row: strawberry.Private[queries.AliasEventRow]

    @link(name="from", description="The version before; null if there was none.")
    async def from_version(self, info: Info) -> ModelVersion | None:
        return await version_by_id(info, self.row.from_version_id)

    @link(description="The version since; null if the alias was cleared.")
    async def to(self, info: Info) -> ModelVersion | None:
        return await version_by_id(info, self.row.to_version_id)

    @link(description="Who did it; null for a training run or an operator's command.")
    async def by(self, info: Info) -> User | None:
        if self.row.by_user_id is None:
            return None
        row = await load(info.context, users_by_id, self.row.by_user_id)
        return User.of(row) if row else None


@strawberry.type(description="The metrics of one version on one day.")
class MetricsPoint:
    date: Day = strawberry.field(description="Day (UTC) of the measurement.")
    version: str = strawberry.field(description="The version measured.")
    accuracy: float = strawberry.field(description="Share of right labels.")
    precision: float = strawberry.field(description="Share of real ones among those called so.")
    recall: float = strawberry.field(description="Share of the real ones that were found.")
    f1_score: float = strawberry.field(description="Harmonic mean of precision and recall.")
    roc_auc: float | None = strawberry.field(description="Area under the ROC curve.")


@strawberry.type(description="Metrics over time, newest first.")
class MetricsHistory:
    model_type: str = strawberry.field(description="Family of the present champion.")
    last_updated: datetime | None = strawberry.field(
        description="Day of the newest measurement (00:00 UTC)."
    )
    metrics_history: list[MetricsPoint] = strawberry.field(description="Newest first.")


@strawberry.type(description="A model with its inputs, versions and price.")
class Model(Node):
    key: str = strawberry.field(description="Its name in commands and arguments.")
    name: str = strawberry.field(description="Its name for people.")
    description: str | None = strawberry.field(description="What it answers.")
    task: ModelTask = strawberry.field(description="What kind of answer it gives.")  # type: ignore[valid-type]
    price_per_prediction: Decimal = strawberry.field(description="Credits that a prediction costs.")
    features: list[FeatureSpec] = strawberry.field(
        description="Its inputs: enough to build a form."
    )
    row: strawberry.Private[queries.ModelRow]

    @classmethod
    def of(cls, row: queries.ModelRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("Model", row.id)),
            key=row.key,
            name=row.name,
            description=row.description,
            task=ModelTaskName(row.task),
            price_per_prediction=row.price,
            features=[FeatureSpec.of(spec) for spec in row.features],
            row=row,
        )

    @link(description="True while it answers 0.5: no artifact, or a damaged one.")
    def is_mock(self, info: Info) -> bool:
        return info.context.services.models.scorer(self.key).is_mock

    @link(description="The version that answers; null before the first training.")
    async def champion(self, info: Info) -> ModelVersion | None:
        return await self._by_alias(info, AliasName.CHAMPION)

    @link(description="The version scored beside it; null if none is.")
    async def shadow(self, info: Info) -> ModelVersion | None:
        return await self._by_alias(info, AliasName.SHADOW)

    async def _by_alias(self, info: Info, alias: AliasName) -> ModelVersion | None:
        row = await load(info.context, queries.versions_by_model_alias, (self.row.id, alias.value))
        return ModelVersion.of(row) if row else None

    @link(description="Every version, newest first.")
    async def versions(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[ModelVersion]:
        page = page_request(first, after, (int,))
        rows = await load(
            info.context,
            queries.versions_pages,
            self.row.id,
            limit=page.limit,
            before_id=page.after[0] if page.after else None,
        )

        async def count() -> int:
            return await load(info.context, queries.version_counts, self.row.id) or 0

        return connection(page, rows or (), lambda row: (row.id,), ModelVersion.of, count)

    @query(access=Role.ADMIN, description="Who moved which alias when, newest first.")
    async def alias_history(self, info: Info, limit: Limit = 20) -> list[AliasChange]:
        require_between("limit", limit, MOST_LISTED)
        rows = await load(info.context, queries.alias_events, self.row.id, limit=limit)
        return [
            AliasChange(alias=AliasName(row.alias), reason=row.reason, at=row.at, row=row)
            for row in rows or ()
        ]

    @query(access=Role.ADMIN, description="Metrics over the days, newest first.")
    async def metrics(self, info: Info, days: Days = 30, limit: Limit = 100) -> MetricsHistory:
        require_between("days", days, MOST_DAYS)
        require_between("limit", limit, MOST_METRICS)
        rows = await load(
            info.context,
            queries.metrics_histories,
            self.row.id,
            scope=HOLDOUT,
            since=info.context.now.date() - timedelta(days=days - 1),
            limit=limit,
        )
        champion = await self._by_alias(info, AliasName.CHAMPION)
        return metrics_history(champion.model_type if champion else "", rows or ())

    @query(access=Role.ADMIN, description="Its training runs, newest first.")
    async def training_runs(self, info: Info, limit: Limit = 10) -> list["TrainingRun"]:
        require_between("limit", limit, MOST_LISTED)
        rows = await load(info.context, queries.training_runs, self.row.id, limit=limit)
        return [TrainingRun.of(row) for row in rows or ()]


def metrics_history(model_type: str, rows: Sequence[queries.MetricRow]) -> MetricsHistory:
    points = [
        MetricsPoint(
            date=row.date,
            version=row.version,
            accuracy=row.accuracy,
            precision=row.precision,
            recall=row.recall,
            f1_score=row.f1_score,
            roc_auc=row.roc_auc,
        )
        for row in rows
    ]
    return MetricsHistory(
        model_type=model_type,
        last_updated=datetime.combine(rows[0].date, time(), UTC) if rows else None,
        metrics_history=points,
    )


@strawberry.type(description="One training of a model, run by a worker.")
class TrainingRun(Node):
    status: JobStatus = strawberry.field(description="Where it is.")  # type: ignore[valid-type]
    created_at: datetime = strawberry.field(description="When it was asked for.")
    started_at: datetime | None = strawberry.field(description="When a worker first took it.")
    finished_at: datetime | None = strawberry.field(description="When it ended, either way.")
    promoted: bool = strawberry.field(description="Whether its version became the champion.")
    metrics: ClassificationMetrics | None = strawberry.field(description="On its hold-out.")
    error: str | None = strawberry.field(description="Why it failed.")
    row: strawberry.Private[queries.RunRow]

    @classmethod
    def of(cls, row: queries.RunRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("TrainingRun", row.id)),
            status=JobStatusName(row.status),
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            promoted=row.promoted,
            metrics=ClassificationMetrics.of(row.metrics),
            error=row.error,
            row=row,
        )

    @link(description="The model that is trained.")
    async def model(self, info: Info) -> Model:
        row = await load(info.context, queries.models_by_id, self.row.model_id)
        if row is None:
            raise LookupError(f"training run {self.row.id} has no model")
        return Model.of(row)

    @link(description="What it made; null until it succeeded.")
    async def version(self, info: Info) -> ModelVersion | None:
        return await version_by_id(info, self.row.version_id)


@strawberry.input(
    description="promote: becomes CHAMPION if it is not worse than the present one on the same "
    "hold-out; otherwise only registered."
)
class TrainInput:
    model_key: str = strawberry.field(default="attendance", description="Key of the model.")
    promote: bool = strawberry.field(default=True, description="Whether it may become champion.")


@strawberry.type(description="The run that was queued.")
class TrainPayload(MutationPayload):
    run: TrainingRun | None = strawberry.field(
        default=None, description="Follow it with trainingRunUpdated."
    )


@strawberry.type(description="The model after the change.")
class ModelPayload(MutationPayload):
    model: Model | None = strawberry.field(default=None, description="The model.")
