"""What tests need to be there, made by the product's own operations."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from unittest.mock import patch

from sqlalchemy import update
from strawberry.utils.str_converters import to_camel_case

from commands.order import TrainedFile
from db.models import Model
from db.models.accounts import Role
from db.models.models import AliasName, ModelTask
from db.queries.accounts import UserRow
from db.session import Database
from db.transactions.accounts import Registration, ensure_account
from db.transactions.models import (
    ModelDefinition,
    TrainedArtifact,
    ensure_model,
    register_version,
    set_alias,
)
from ml.attendance.spec import EXAMPLE_ATTENDEE
from schema.edge.definitions import ATTENDANCE
from settings import Settings, load_settings

PASSWORD = "correct horse battery"
CLASSIFICATION = ModelTask.CLASSIFICATION
METRICS = {"accuracy": 0.9, "precision": 0.8, "recall": 0.7, "f1_score": 0.75, "roc_auc": 0.85}
_numbers = count(1)


def right_now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Only these variables: what a developer's shell has set must not reach a test."""
    with patch.dict(os.environ, variables, clear=True):
        yield


def make_settings(**variables: str) -> Settings:
    with environment({"DEBUG": "true", "SECRET_KEY": "a-secret-of-the-tests", **variables}):
        return load_settings(env_file=None)


async def make_user(
    database: Database,
    *,
    role: Role = Role.USER,
    username: str | None = None,
    email: str | None = None,
    password_hash: str = "no password",
    now: datetime | None = None,
) -> UserRow:
    name = username or f"person{next(_numbers)}"
    wanted = Registration(name, email or f"{name}@example.com", PASSWORD)
    async with database.transaction() as session:
        return await ensure_account(
            session,
            wanted,
            password_hash=password_hash,
            role=role,
            time_zone="America/Bogota",
            now=now or right_now(),
        )


async def make_model(database: Database, key: str, price: str = "0") -> int:
    """A model nobody has trained."""
    definition = ModelDefinition(key, key.title(), "A model of the tests.", CLASSIFICATION, [])
    async with database.transaction() as session:
        model_id = await ensure_model(session, definition, right_now())
        await session.execute(
            update(Model).where(Model.id == model_id).values(price=Decimal(price))
        )
    return model_id


def nowhere() -> TrainedArtifact:
    return TrainedArtifact("Nothing", "0" * 64, "nowhere.joblib", 10, METRICS, {})


async def make_version(database: Database, model_id: int) -> int:
    """A version whose artifact lies nowhere."""
    async with database.transaction() as session:
        registered = await register_version(
            session,
            model_id,
            nowhere(),
            promote=False,
            better_than=None,
            reason="a test",
            now=right_now(),
        )
    return registered.id


async def promote(database: Database, model_id: int, version_id: int) -> None:
    async with database.transaction() as session:
        await set_alias(
            session,
            model_id,
            AliasName.CHAMPION,
            version_id,
            by=None,
            reason="a test",
            now=right_now(),
        )


ATTENDEE: dict[str, Any] = {to_camel_case(name): value for name, value in EXAMPLE_ATTENDEE.items()}
"""The example of the source, as GraphQL input."""


def attendee(**changes: Any) -> dict[str, Any]:
    return {**ATTENDEE, **changes}


async def register_champion(database: Database, trained: TrainedFile) -> str:
    """Makes an artifact that is in its folder the attendance champion; its version."""
    async with database.transaction() as session:
        model_id = await ensure_model(session, ATTENDANCE, right_now())
        registered = await register_version(
            session,
            model_id,
            trained.artifact,
            promote=True,
            better_than=None,
            reason="a test",
            now=right_now(),
        )
    return registered.version
