"""The model registry: what there is, what serves, and training."""

import asyncio
from collections.abc import AsyncIterator
from secrets import compare_digest
from typing import Annotated
from uuid import UUID

import strawberry
import structlog

from auth.errors import FeatureDisabled, Forbidden, Unauthenticated
from auth.networks import within
from db.errors import InputRejected, VersionUnservable
from db.events import training_topic
from db.models.accounts import Role
from db.models.jobs import JobStatus
from db.models.models import AliasName
from db.queries import models as queries
from db.transactions import models as transactions
from ml.artifacts import ArtifactError, load_artifact
from ml.champion_file import publish_champion
from schema.edge.arguments import After, First, Id, OptionalId, described
from schema.edge.connections import Connection, connection, page_request
from schema.edge.context import Context, Info
from schema.edge.faults import BadUserInput, NotFound
from schema.edge.fields import PUBLIC, Rate, mutation, query, subscription
from schema.edge.ids import integer_key, uuid_key
from schema.edge.nodes import fetched_by
from schema.models import (
    Model,
    ModelAlias,
    ModelPayload,
    ModelVersion,
    TrainingRun,
    TrainInput,
    TrainPayload,
)

log = structlog.get_logger(__name__)

REREAD_SECONDS = 5.0
"""A lost event costs a subscriber at most so long."""
LONGEST_REASON = 500
FINISHED = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}


async def _run(context: Context, run_id: UUID) -> queries.RunRow | None:
    async with context.database.read() as reader:
        return await queries.training_run(reader, run_id)


@strawberry.type
class ModelQuery:
    @query(access=PUBLIC, description="Every model; paidOnly: those with a price.")
    async def models(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        paid_only: Annotated[bool, described("Leave out the models that cost nothing.")] = False,
    ) -> Connection[Model]:
        page = page_request(first, after, (int,))
        after_id = page.after[0] if page.after else 0
        async with info.context.database.read() as reader:
            rows = await queries.models_page(reader, page.limit, after_id, paid_only)

        async def count() -> int:
            async with info.context.database.read() as counter:
                return await queries.count_models(counter, paid_only)

        return connection(page, rows, lambda row: (row.id,), Model.of, count)

    @query(access=PUBLIC, description="One model by id or by key; null if there is none.")
    async def model(
        self,
        info: Info,
        id: OptionalId = None,
        key: Annotated[str | None, described("Its key, such as 'attendance'.")] = None,
    ) -> Model | None:
        if (id is None) == (key is None):
            raise BadUserInput("Give either id or key", ["id"])
        async with info.context.database.read() as reader:
            if key is not None:
                row = await queries.model_by_key(reader, key)
            else:
                model_id = integer_key(str(id), "Model")
                row = (await queries.models_by_id(reader, [model_id])).get(model_id)
        return Model.of(row) if row else None

    @query(access=Role.ADMIN, description="One training run; null if there is none.")
    async def training_run(self, info: Info, id: Id) -> TrainingRun | None:
        row = await _run(info.context, uuid_key(id, "TrainingRun"))
        return TrainingRun.of(row) if row else None


def require_train_right(context: Context) -> None:
    """The endpoint is off unless switched on, and then wants its own token.

    Raises FeatureDisabled, Forbidden (network, wrong token) or Unauthenticated (no token).
    """
    policy = context.policy
    if not policy.train_enabled:
        raise FeatureDisabled("Training by API is off (ENABLE_MODEL_TRAIN_ENDPOINT).")
    if policy.train_networks and not within(context.address, policy.train_networks):
        raise Forbidden
    token = context.connection.headers.get("x-train-token")
    if not token:
        raise Unauthenticated("Training needs the header X-Train-Token.")
    if not compare_digest(token.encode(), policy.train_token.encode()):
        raise Forbidden


async def require_servable(context: Context, model_id: int, version_id: int) -> None:
    """Raises VersionUnservable for a version without metrics or with a damaged artifact."""
    async with context.database.read() as reader:
        model = (await queries.models_by_id(reader, [model_id])).get(model_id)
        version = (await queries.versions_by_id(reader, [version_id])).get(version_id)
    if model is None or version is None or version.model_id != model_id:
        return  # the transaction names what is not there
    if not version.metrics:
        raise VersionUnservable(version.version, "it was never measured")
    path = context.services.artifact_path(model.key).parent / version.path
    try:
        await asyncio.to_thread(load_artifact, path, version.sha256)
    except ArtifactError as error:
        raise VersionUnservable(version.version, str(error)) from error


async def publish(context: Context, key: str, version_id: int) -> None:
    """Copies the champion to where operators look for it; what serves does not depend on it."""
    async with context.database.read() as reader:
        version = (await queries.versions_by_id(reader, [version_id]))[version_id]
    place = context.services.artifact_path(key)
    try:
        await asyncio.to_thread(publish_champion, place.parent / version.path, place)
    except OSError as error:
        log.warning("models.publish_failed", model=key, error=str(error))


@strawberry.type
class ModelMutation:
    @mutation(
        access=PUBLIC,
        rate=Rate(5, 3_600),
        description="Trains a model in a worker. Off unless ENABLE_MODEL_TRAIN_ENDPOINT; needs "
        "the header X-Train-Token.",
    )
    async def train(
        self, info: Info, input: Annotated[TrainInput, described("What to train.")]
    ) -> TrainPayload:
        context = info.context
        require_train_right(context)
        async with context.database.transaction() as session:
            run_id = await transactions.request_training(
                session, input.model_key, promote=input.promote, now=context.now
            )
        row = await _run(context, run_id)
        return TrainPayload(run=TrainingRun.of(row) if row else None)

    @mutation(
        access=Role.ADMIN,
        description="Moves an alias to a version (promote, roll back, start a shadow); "
        "versionId null clears SHADOW. Audited in Model.aliasHistory.",
    )
    async def set_model_alias(
        self,
        info: Info,
        model_id: Id,
        alias: Annotated[ModelAlias, described("The alias to move.")],  # type: ignore[valid-type]
        version_id: OptionalId = None,
        reason: Annotated[str | None, described("Why, for the history.")] = None,
    ) -> ModelPayload:
        context = info.context
        viewer = await context.required_viewer()
        if reason is not None and len(reason) > LONGEST_REASON:
            message = f"reason may have {LONGEST_REASON} characters at most"
            raise InputRejected.one("OUT_OF_RANGE", ("reason",), message)
        model = integer_key(model_id, "Model", "modelId")
        version = (
            None if version_id is None else integer_key(version_id, "ModelVersion", "versionId")
        )
        if version is not None:
            await require_servable(context, model, version)
        async with context.database.transaction() as session:
            await transactions.set_alias(
                session, model, alias, version, by=viewer.id, reason=reason, now=context.now
            )
        async with context.database.read() as reader:
            row = (await queries.models_by_id(reader, [model]))[model]
        if alias is AliasName.CHAMPION and version is not None:
            await publish(context, row.key, version)
        return ModelPayload(model=Model.of(row))


@strawberry.type
class ModelSubscription:
    @subscription(
        access=Role.ADMIN,
        description="A training run: once at the start, then at each change until it ends.",
    )
    async def training_run_updated(self, info: Info, id: Id) -> AsyncIterator[TrainingRun]:
        run_id = uuid_key(id, "TrainingRun")
        context = info.context
        async with context.services.events.listen(training_topic(run_id)) as news:
            told: queries.RunRow | None = None
            while told is None or told.status not in FINISHED:
                row = await _run(context, run_id)
                if row is None:
                    raise NotFound("There is no such training run.")
                if row != told:
                    told = row
                    context.loaders.clear()  # a stream outlives what a request may remember
                    yield TrainingRun.of(row)
                    continue
                try:
                    await asyncio.wait_for(news.get(), REREAD_SECONDS)
                except TimeoutError:
                    continue


@fetched_by("Model")
async def fetch_model(context: Context, key: str) -> Model | None:
    model_id = integer_key(key, "Model")
    async with context.database.read() as reader:
        row = (await queries.models_by_id(reader, [model_id])).get(model_id)
    return Model.of(row) if row else None


@fetched_by("ModelVersion")
async def fetch_version(context: Context, key: str) -> ModelVersion | None:
    version_id = integer_key(key, "ModelVersion")
    async with context.database.read() as reader:
        row = (await queries.versions_by_id(reader, [version_id])).get(version_id)
    return ModelVersion.of(row) if row else None


@fetched_by("TrainingRun")
async def fetch_training_run(context: Context, key: str) -> TrainingRun | None:
    viewer = await context.required_viewer()
    if viewer.role is not Role.ADMIN:
        return None
    row = await _run(context, uuid_key(key, "TrainingRun"))
    return TrainingRun.of(row) if row else None
