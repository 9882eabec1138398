"""Every table, imported here so that Alembic and the tests see the whole schema."""

from db.models.accounts import Profile, User
from db.models.catalogue import Product, StockAdjustment, Store, StoreProduct
from db.models.holds import Reservation
from db.models.idempotency import IdempotencyKey
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
from db.models.notifications import Notification, NotificationDay
from db.models.predictions import Prediction
from db.models.promos import Promo, PromoUserCount
from db.models.waitlists import WaitlistEntry

__all__ = [
    "IdempotencyKey",
    "Job",
    "Model",
    "ModelAlias",
    "ModelAliasEvent",
    "ModelMetric",
    "ModelVersion",
    "Notification",
    "NotificationDay",
    "OutboxMessage",
    "Prediction",
    "Product",
    "Profile",
    "Promo",
    "PromoUserCount",
    "Reservation",
    "StockAdjustment",
    "Store",
    "StoreProduct",
    "Table",
    "TrainingRun",
    "User",
    "WaitlistEntry",
]
