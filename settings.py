"""Every environment variable, in one frozen object.

Entry points (`app.py`, `cli.py`, `migrations/env.py`) read it once and hand values down; nothing
else looks at the environment. `.env.example` and `docs/settings.md` are written from here.
"""

import re
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import available_timezones

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEBUG_SECRET = "insecure-secret-for-debug-only"  # noqa: S105 - refused outside DEBUG
WELL_KNOWN_SECRETS = {DEBUG_SECRET, "dev_secret", "changeme", "secret"}
SHORTEST_SECRET = 32
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

COMMA_LISTS = ("allowed_hosts", "frontend_origin", "supabase_jwt_algs", "train_allowed_cidrs")
CommaList = Annotated[tuple[str, ...], NoDecode]


class AuthMode(StrEnum):
    LOCAL = "local"
    SUPABASE = "supabase"
    BOTH = "both"


class InvalidSettings(ValueError):
    """The message has a line for each variable to mend."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    # --- the application
    app_env: Literal["dev", "prod"] = Field("dev", description="`dev` or `prod`.")
    app_name: str = Field("Auspex", description="Name in `health` and in the logs.")
    debug: bool = Field(
        False, description="Development: unmasked errors, a default SECRET_KEY, readable logs."
    )
    secret_key: str = Field(
        "", description="Signs the tokens we issue. Obligatory unless DEBUG; keep it secret."
    )
    host: str = Field("127.0.0.1", description="Address that `auspex serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `auspex serve` listens on.")
    api_prefix: str = Field("/api/v1", description="Second place of every route.")
    allowed_hosts: CommaList = Field(
        ("*",), description="Accepted Host headers, comma-separated; `*` accepts any."
    )
    frontend_origin: CommaList = Field(
        (), description="Origins of browsers allowed to call the API, comma-separated."
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="Proxies whose X-Forwarded-For is believed (uvicorn's forwarded-allow-ips).",
    )
    graphiql: bool = Field(True, description="Serve GraphiQL at `/graphql`.")
    persisted_only: bool = Field(
        False, description="Accept only the documents in the documents folder."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least important log line that is written."
    )
    prometheus_multiproc_dir: str = Field(
        "",
        description="Folder through which API processes share their figures; "
        "`auspex serve` makes one when it starts several.",
    )
    test_mode: bool = Field(
        False, description="Run paid predictions inside the request, without a worker."
    )
    seed_demo_data: bool = Field(True, description="`auspex init-db` loads the demo data.")

    # --- PostgreSQL
    database_url: str = Field("", description="PostgreSQL. If empty, built from POSTGRES_*.")
    postgres_db: str = Field("auspex", description="Used where DATABASE_URL is empty.")
    postgres_user: str = Field("auspex", description="Used where DATABASE_URL is empty.")
    postgres_password: str = Field("auspex", description="Used where DATABASE_URL is empty.")
    postgres_host: str = Field("127.0.0.1", description="Used where DATABASE_URL is empty.")
    postgres_port: int = Field(5432, ge=1, le=65535, description="Where DATABASE_URL is empty.")
    db_conn_max_age: int = Field(
        -1, ge=-1, description="Seconds after which a pooled connection is renewed; -1: never."
    )
    db_pool_size: int = Field(10, ge=1, le=200, description="Connections that a process keeps.")

    # --- Redis and the broker
    redis_url: str = Field("", description="Address of Redis. If empty, built from REDIS_HOST.")
    redis_host: str = Field("127.0.0.1", description="Used where REDIS_URL is empty.")
    redis_port: int = Field(6379, ge=1, le=65535, description="Used where REDIS_URL is empty.")
    broker_url: str = Field(
        "",
        validation_alias=AliasChoices("BROKER_URL", "CELERY_BROKER_URL"),
        description="Broker of the jobs: redis:// or amqp://. If empty, RABBIT_HOST, else Redis.",
    )
    result_url: str = Field(
        "",
        validation_alias=AliasChoices("RESULT_URL", "CELERY_RESULT_BACKEND"),
        description="Accepted for compatibility: results live in PostgreSQL.",
    )
    rabbit_host: str = Field("", description="RabbitMQ as the broker, on port 5672, as guest.")
    queue_name: str = Field("ml_tasks", description="Queue that the jobs go through.")

    # --- identity
    auth_mode: AuthMode | None = Field(
        None,
        description="`local` (passwords here), `supabase` (an outside provider) or `both`. "
        "If empty: both where a provider is configured, else local.",
    )
    access_token_expire_minutes: int = Field(
        60, ge=1, le=43_200, description="Life of the tokens we issue."
    )
    password_min_length: int = Field(
        0, ge=0, le=128, description="If 0: 6 in development, 8 in production."
    )
    allow_basic_auth: bool = Field(
        False, description="Accept `Authorization: Basic`. For tests and tools only."
    )
    supabase_project_ref: str = Field(
        "", description="Supabase project: gives issuer and JWKS address."
    )
    supabase_jwks_url: str = Field("", description="JWKS address, if not the project's usual one.")
    supabase_issuer: str = Field("", description="`iss` of its tokens, if not the usual one.")
    supabase_audience: str = Field("authenticated", description="`aud` its tokens must carry.")
    supabase_jwt_algs: CommaList = Field(
        ("RS256", "ES256"), description="Signature algorithms accepted from it."
    )
    oidc_issuer: str = Field("", description="Any other OpenID Connect provider: its `iss`.")
    oidc_jwks_url: str = Field("", description="Its JWKS address; else its discovery is asked.")
    oidc_audience: str = Field("", description="`aud` its tokens must carry.")

    # --- models
    model_dir: Path = Field(
        Path("var/models"), description="Folder of the model artifacts, shared with the workers."
    )
    model_path: Path | None = Field(
        None,
        description="Another name of ATTENDEE_MODEL_PATH; with AUTH_MODE=supabase also of "
        "COURSE_MODEL_PATH where that is empty.",
    )
    attendee_model_path: Path | None = Field(
        None, description="Artifact of the attendance champion; default in MODEL_DIR."
    )
    course_model_path: Path | None = Field(
        None, description="Artifact of the course champion; default in MODEL_DIR."
    )
    shortage_model_path: Path | None = Field(
        None, description="Artifact of the shortage champion; default in MODEL_DIR."
    )
    attendee_threshold: float = Field(
        0.5, gt=0, lt=1, description="Reseller probability from which on the label is RESELLER."
    )
    enable_model_train_endpoint: bool = Field(
        False, description="Allow the `train` mutation (needs MODEL_TRAIN_TOKEN)."
    )
    model_train_token: str = Field(
        "", description="Value of the X-Train-Token header that `train` demands."
    )
    train_allowed_cidrs: CommaList = Field(
        (), description="Networks that may call `train`, comma-separated; empty: any."
    )

    # --- limits
    query_cost_limit: int = Field(
        5_000, ge=1, description="Most cost points that one request may have."
    )
    query_budget_per_minute: int = Field(60_000, ge=1, description="Points a caller has a minute.")
    rate_limits: bool = Field(True, description="Enforce the limits declared on the fields.")
    rate_limit_forecast: str = Field(
        "30/60", description="Forecasts a caller may ask for: calls/seconds."
    )

    # --- promos, shortages, credits
    time_zone: str = Field(
        "America/Bogota", description="Zone of new profiles and stores: rules a day's border."
    )
    promo_hold_seconds: int = Field(60, ge=1, le=86_400, description="Life of a hold.")
    alert_high_days: int = Field(15, ge=0, description="Days to a shortage: alert level HIGH.")
    alert_medium_days: int = Field(45, ge=0, description="Days to a shortage: level MEDIUM.")
    currency: str = Field("COP", pattern="^[A-Z]{3}$", description="ISO 4217 code of prices.")
    credits_per_unit: Decimal = Field(
        Decimal("0.001"), gt=0, description="Credits a unit of money."
    )
    max_deposit: Decimal = Field(Decimal(100_000), gt=0, description="Most credits in one deposit.")

    @field_validator(*COMMA_LISTS, mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is not a time zone of the IANA database")
        return value

    @field_validator("train_allowed_cidrs")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("supabase_jwt_algs")
    @classmethod
    def _asymmetric_only(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # HS256 would let anybody who can read the public key sign tokens with it.
        refused = [alg for alg in value if alg not in {"RS256", "ES256"}]
        if refused or not value:
            raise ValueError("may hold RS256 and ES256 only")
        return value

    @field_validator("api_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        if value and not value.startswith("/"):
            raise ValueError("must start with a slash")
        return value.rstrip("/")

    @field_validator("rate_limit_forecast")
    @classmethod
    def _rate(cls, value: str) -> str:
        calls, _, seconds = value.partition("/")
        if not (calls.isdigit() and seconds.isdigit() and int(calls) and int(seconds)):
            raise ValueError("must be calls/seconds, as in 30/60")
        return value

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: dict[str, Any]) -> dict[str, Any]:
        return derived(values)

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        require_agreement(self)
        return self

    @property
    def production(self) -> bool:
        return self.app_env == "prod"

    @property
    def least_password_length(self) -> int:
        return self.password_min_length or (8 if self.production else 6)

    @property
    def local_accounts(self) -> bool:
        return self.auth_mode is not AuthMode.SUPABASE

    @property
    def train_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(network) for network in self.train_allowed_cidrs)

    def artifact_path(self, key: str) -> Path:
        """Where the champion of this model is read and written; its versions lie beside it."""
        named = {
            "attendance": self.attendee_model_path,
            "course": self.course_model_path,
            "shortage": self.shortage_model_path,
        }.get(key)
        return named or self.model_dir / f"{key}.joblib"


def derived(values: dict[str, Any]) -> dict[str, Any]:
    """Fills what the sources spell in two ways: addresses, artifact paths, the auth mode."""

    def given(name: str, default: str) -> str:
        return str(values.get(name) or default)

    if not values.get("database_url"):
        user = quote(given("postgres_user", "auspex"), safe="")
        password = quote(given("postgres_password", "auspex"), safe="")
        place = f"{given('postgres_host', '127.0.0.1')}:{given('postgres_port', '5432')}"
        values["database_url"] = (
            f"postgresql://{user}:{password}@{place}/{given('postgres_db', 'auspex')}"
        )
    if not values.get("redis_url"):
        values["redis_url"] = (
            f"redis://{given('redis_host', '127.0.0.1')}:{given('redis_port', '6379')}/0"
        )
    if not (values.get("BROKER_URL") or values.get("CELERY_BROKER_URL")):
        rabbit = values.get("rabbit_host")
        values["BROKER_URL"] = (
            f"amqp://guest:guest@{rabbit}:5672" if rabbit else values["redis_url"]
        )
    if not values.get("attendee_model_path"):
        values["attendee_model_path"] = values.get("model_path")
    if values.get("auth_mode") == "supabase" and not values.get("course_model_path"):
        values["course_model_path"] = values.get("model_path")
    if not values.get("auth_mode"):
        provider = values.get("supabase_project_ref") or values.get("oidc_issuer")
        values["auth_mode"] = "both" if provider or values.get("supabase_jwks_url") else "local"
    return values


def require_agreement(settings: Settings) -> None:
    """Rules over several variables. Raises ValueError naming the variable to mend."""
    for rule in (secrets_fault, provider_fault, address_fault):
        if fault := rule(settings):
            raise ValueError(fault)
    if not settings.secret_key:
        object.__setattr__(settings, "secret_key", DEBUG_SECRET)


def secrets_fault(settings: Settings) -> str | None:
    if not settings.secret_key and not settings.debug:
        return "SECRET_KEY: is not set (obligatory unless DEBUG=true)"
    if settings.production and settings.debug:
        return "DEBUG: must be off when APP_ENV=prod"
    if settings.production and settings.secret_key in WELL_KNOWN_SECRETS:
        return "SECRET_KEY: is a well-known value, refused when APP_ENV=prod"
    if settings.production and len(settings.secret_key) < SHORTEST_SECRET:
        return f"SECRET_KEY: needs {SHORTEST_SECRET} characters or more when APP_ENV=prod"
    if settings.enable_model_train_endpoint and not settings.model_train_token:
        return "MODEL_TRAIN_TOKEN: is not set (obligatory when ENABLE_MODEL_TRAIN_ENDPOINT=true)"
    return None


def provider_fault(settings: Settings) -> str | None:
    outside = settings.supabase_project_ref or settings.supabase_jwks_url or settings.oidc_issuer
    if settings.auth_mode is not AuthMode.LOCAL and not outside:
        return (
            "SUPABASE_PROJECT_REF: is not set (AUTH_MODE asks for an outside provider; "
            "OIDC_ISSUER would do as well)"
        )
    if settings.oidc_issuer and not settings.oidc_audience:
        return "OIDC_AUDIENCE: is not set (obligatory with OIDC_ISSUER)"
    return None


def address_fault(settings: Settings) -> str | None:
    if fault := database_url_fault(settings.database_url):
        return f"DATABASE_URL: {fault}"
    if not settings.redis_url.startswith(REDIS_SCHEMES) or port_fault(settings.redis_url):
        return "REDIS_URL: must be an address such as redis://host:6379/0"
    if not settings.broker_url.startswith((*REDIS_SCHEMES, "amqp://", "amqps://")):
        return "BROKER_URL: must start with redis:// or amqp://"
    return None


def database_url_fault(address: str) -> str | None:
    """What is wrong with the address, without repeating it: it may hold a password."""
    scheme, separator, rest = address.partition("://")
    if scheme.split("+")[0] not in {"postgres", "postgresql"} or not separator:
        return "must start with postgresql://"
    if port_fault(address):
        return "has a port that is no number"
    mode = re.search(r"[?&]sslmode=([^&]*)", rest)
    if mode and mode.group(1) not in SSL_MODES:
        return f"has an unknown sslmode {mode.group(1)!r}"
    return None


def port_fault(address: str) -> bool:
    """Also true for a password with a slash that is not written as %2F."""
    try:
        _ = urlsplit(address).port
    except ValueError:
        return True
    return False


def load_settings(env_file: Path | None = Path(".env")) -> Settings:
    """Settings from the process's environment and, below it, from `.env` in the current folder.

    Raises InvalidSettings, with one line a variable.
    """
    try:
        return Settings(_env_file=env_file)  # type: ignore[call-arg]  # pydantic makes it
    except ValidationError as error:
        raise InvalidSettings(readable(error)) from None


def readable(error: ValidationError) -> str:
    """One line a variable; values are left out, they may be secrets."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"  {name}: {message}" if name else f"  {message}")
    return "The settings are wrong:\n" + "\n".join(lines)


def load_or_exit() -> Settings:
    """For entry points: a wrong setting ends the start with one readable message."""
    try:
        return load_settings()
    except InvalidSettings as error:
        raise SystemExit(f"{error}\nSee .env.example for every variable.") from None
