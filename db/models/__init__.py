"""Every table, imported here so that Alembic and the tests see the whole schema."""

from db.models.accounts import Profile, User
from db.models.jobs import Job, OutboxMessage
from db.models.metadata import Table
from db.models.models import (
    Model,
    ModelAlias,
    ModelAliasEvent,
    ModelMetric,
    ModelVersion,
    TrainingRun,
)

__all__ = [
    "Job",
    "Model",
    "ModelAlias",
    "ModelAliasEvent",
    "ModelMetric",
    "ModelVersion",
    "OutboxMessage",
    "Profile",
    "Table",
    "TrainingRun",
    "User",
]
