"""What a process has one of: made by `app.py`, shared by all requests."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from redis.asyncio import Redis

from auth.limits import RateLimiter
from auth.passwords import Passwords
from auth.tokens import LocalTokens
from auth.verifier import TokenVerifier
from db.announcing import Announcer
from db.events import Events
from db.reserver import Reserver
from db.session import Database
from ml.registry import ModelRegistry
from schema.edge.champions import Champions
from schema.edge.documents import Documents


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Policy:
    """Values of the settings that rules in the resolvers depend on."""

    app_name: str
    version: str
    production: bool
    debug: bool
    local_accounts: bool
    allow_basic_auth: bool
    least_password_length: int
    time_zone: str
    attendee_threshold: float
    train_enabled: bool
    train_token: str
    train_networks: tuple[IPv4Network | IPv6Network, ...]
    most_query_cost: int
    budget_per_minute: int
    currency: str
    hold_seconds: int
    credits_per_unit: Decimal


@dataclass(frozen=True)
class Services:
    policy: Policy
    database: Database
    redis: Redis
    events: Events
    announcer: Announcer
    reserver: Reserver
    limiter: RateLimiter
    verifier: TokenVerifier
    tokens: LocalTokens
    passwords: Passwords
    models: ModelRegistry
    champions: Champions
    documents: Documents
    artifact_path: Callable[[str], Path]
    """Where a model's champion is published; its versions lie beside it."""
    clock: Callable[[], datetime] = utc_now
