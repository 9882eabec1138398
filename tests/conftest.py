"""The test bench: real PostgreSQL and Redis, one database a test, the application in process."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import structlog
from redis.asyncio import Redis
from starlette.applications import Starlette

from app import create_app, make_services
from auth.limits import RateLimiter
from auth.passwords import Passwords
from commands.order import TrainedFile, TrainingOrder, carry_out
from db.models.accounts import Role
from db.queries.accounts import UserRow
from db.session import Database, create_engine
from dev.folder import FileLock
from ml.attendance.spec import KEY as ATTENDANCE_KEY
from resolvers import health
from schema.edge.services import Services
from settings import Settings
from tests.clients import Api, SignIn
from tests.databases import ROOT, cloned, drop, make_template, redis_url
from tests.factories import make_settings, make_user, register_champion, right_now
from tests.servers import SHARED_REDIS, RunningServer, shared_server

WEAK_PASSWORDS = {"time_cost": 1, "memory_kib": 8, "parallelism": 1}
"""Argon2 at full strength takes 60 ms; what is tested is not its strength."""

PATIENT = 20.0
"""Seconds. A busy machine must not look like a silent Redis (the limiter would begin to count
anew in memory) or like a database that is away."""


@pytest.fixture(scope="session")
def template() -> Iterator[str]:
    name = f"template_{uuid4().hex[:12]}"
    asyncio.run(make_template(name))
    yield name
    asyncio.run(drop(name))


@pytest.fixture
async def database_url(template: str) -> AsyncIterator[str]:
    async with cloned(template) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(create_engine(database_url, pool_size=5))
    yield made
    await made.close()


@pytest.fixture(scope="session")
def redis_number() -> Iterator[int]:
    """Each pytest process has a Redis database of its own, those of another run as well: two may
    share the services, and each test empties its own. With `tests.servers.SHARED_REDIS` added it
    is the one of the process's server."""
    here = f"auspex-tests-{os.getuid()}-redis-{urlsplit(redis_url(0)).port}"
    for number in (number for number in range(64) if not number & SHARED_REDIS):
        lock = FileLock(Path(tempfile.gettempdir()) / f"{here}-{number}.lock")
        if lock.hold(wait=False):
            yield number
            lock.release()
            return
        lock.release()
    pytest.fail("every Redis database is taken by another pytest process")


@pytest.fixture
async def redis_address(redis_number: int) -> AsyncIterator[str]:
    """A Redis database of this pytest process alone, empty."""
    address = redis_url(redis_number)
    client = Redis.from_url(address)
    await client.flushdb()
    yield address
    await client.aclose()


@pytest.fixture
def settings_variables() -> dict[str, str]:
    """Overridden by tests that need other settings."""
    return {}


@pytest.fixture
def settings(
    database_url: str, redis_address: str, tmp_path: Path, settings_variables: dict[str, str]
) -> Settings:
    return make_settings(
        **{
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_address,
            "MODEL_DIR": str(tmp_path / "models"),
            **settings_variables,
        }
    )


@pytest.fixture
def services(settings: Settings) -> Services:
    made = make_services(settings)
    limiter = RateLimiter(settings.redis_url, enabled=settings.rate_limits, timeout_seconds=PATIENT)
    replaced = {"passwords": Passwords(**WEAK_PASSWORDS), "limiter": limiter}
    return type(made)(**{**vars(made), **replaced})


@pytest.fixture
async def application(
    settings: Settings, services: Services, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Starlette]:
    monkeypatch.setattr(health, "PROBE_SECONDS", PATIENT)
    app = create_app(settings, services)
    # A logger that kept this test's processors would be out of capture_logs' reach in later ones.
    structlog.configure(cache_logger_on_first_use=False)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def http(application: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://auspex.test") as client:
        yield client


@pytest.fixture
def api(http: httpx.AsyncClient) -> Api:
    return Api(http)


@pytest.fixture
def sign_in(api: Api, services: Services) -> SignIn:
    """Makes an account with the given role and returns a client that is signed in as it."""

    async def make(role: Role = Role.USER) -> tuple[Api, UserRow]:
        user = await make_user(services.database, role=role)
        token, _ = services.tokens.issue(user.id, right_now())
        return api.as_(token), user

    return make


@pytest.fixture(scope="session")
def server(
    template: str, training: tuple[Path, TrainedFile], redis_number: int
) -> Iterator[RunningServer]:
    """A real server process with a trained model, shared by the tests that only talk to it."""
    folder, trained = training
    with shared_server(template, redis_number, folder, trained) as running:
        yield running


@pytest.fixture
def server_url(server: RunningServer) -> str:
    return server.url


@pytest.fixture
async def server_database(server: RunningServer) -> AsyncIterator[Database]:
    """The database of that server."""
    made = Database(create_engine(server.database_url, pool_size=2))
    yield made
    await made.close()


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedFile]:
    """A trained attendance artifact, made once a run: the folder it lies in, and what it is."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, carry_out(TrainingOrder(ATTENDANCE_KEY, folder))


@pytest.fixture
async def champion(
    training: tuple[Path, TrainedFile], settings: Settings, database: Database
) -> TrainedFile:
    """The attendance champion in this test's database and model folder."""
    folder, trained = training
    settings.model_dir.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / trained.artifact.path, settings.model_dir)
    await register_champion(database, trained)
    return trained


@pytest.fixture(scope="session")
def web_pages() -> Path:
    page = ROOT / "web" / "static" / "graphiql.html"
    if not page.exists():
        pytest.fail("web/static is not built: run `make test`, which builds it")
    return page
