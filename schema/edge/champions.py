"""Keeps what a process serves in step with the registry's aliases, without a restart."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from db.queries.models import ServedVersion, champions_by_key
from db.session import Database
from db.transactions.models import ensure_model
from ml.artifacts import ArtifactError, load_artifact
from ml.registry import ModelRegistry
from schema.edge.definitions import DEFINITIONS

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""One small statement a process and second: a new champion serves within 2 s, Redis or not."""


class Champions:
    """Installs champions as their alias moves; a damaged artifact mocks that model alone."""

    def __init__(
        self, database: Database, models: ModelRegistry, artifact_path: Callable[[str], Path]
    ) -> None:
        self._database = database
        self._models = models
        self._artifact_path = artifact_path
        self._defined = False
        self._wanted: dict[str, ServedVersion | None] = dict.fromkeys(DEFINITIONS)
        self._told: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def mocks(self) -> list[str]:
        """Keys of the models that exist and answer without an artifact."""
        return sorted(key for key in self._wanted if self._models.scorer(key).is_mock)

    async def start(self) -> None:
        await self.refresh()
        self._task = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Reads the aliases and loads what changed; a database that is away changes nothing."""
        try:
            await self._define()
            async with self._database.read() as reader:
                champions = await champions_by_key(reader)
        except Exception as error:  # noqa: BLE001 - whatever it is: serve on as before
            log.warning("models.refresh_failed", error=type(error).__name__)
            champions = {}
        for key, champion in (self._wanted | champions).items():
            moved = self._wanted.get(key) != champion
            self._wanted[key] = champion
            # One that could not be loaded is tried again: its file may be on its way.
            if moved or self._models.scorer(key).is_mock:
                await self._serve(key, champion)

    async def _define(self) -> None:
        """Once a process: a new release may bring a model, or other features of one."""
        if not self._defined:
            async with self._database.transaction() as session:
                for definition in DEFINITIONS.values():
                    await ensure_model(session, definition, datetime.now(UTC))
            self._defined = True

    async def _serve(self, key: str, champion: ServedVersion | None) -> None:
        if champion is None:
            self._mock(key, "no version is the champion")
            return
        path = self._artifact_path(key).parent / champion.path
        try:
            scorer = await asyncio.to_thread(load_artifact, path, champion.sha256)
        except ArtifactError as error:
            self._mock(key, str(error))
            return
        self._models.install(key, champion.version, scorer)
        self._told.pop(key, None)
        log.info("models.serving", model=key, version=champion.version)

    def _mock(self, key: str, reason: str) -> None:
        self._models.remove(key)
        if self._told.get(key) != reason:
            log.warning("models.mock", model=key, reason=reason)
        self._told[key] = reason
