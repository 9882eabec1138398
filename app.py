"""The ASGI application: routes, middleware, lifespan. Assembly only.

Run with `auspex serve`, or with any ASGI server: `uvicorn app:app`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from auth.limits import RateLimiter
from auth.passwords import Passwords
from auth.providers import Provider
from auth.tokens import LocalTokens
from auth.verifier import TokenVerifier
from db.announcing import Announcer
from db.events import Events
from db.reserver import Reserver
from db.session import Database, create_engine
from logs import configure_logs
from ml.registry import ModelRegistry
from resolvers import probes, tokens
from schema.edge.champions import Champions
from schema.edge.documents import Documents
from schema.edge.gate import Gate
from schema.edge.http import GraphQLApp
from schema.edge.limits import DocumentLimits
from schema.edge.services import Policy, Services, utc_now
from schema.edge.static import BuiltFiles
from schema.root import schema
from settings import AuthMode, InvalidSettings, Settings, load_or_exit

STATEMENT_SECONDS = 10.0
IDLE_SECONDS = 5.0
LOCK_SECONDS = 3.0
"""A frozen server process blocked a promo for as long as it was frozen. An idle limit of 2 s alone
still made it 24 s, because its backends that queue for the promo take the lock one after another
and are each silent for so long; with a limit for locks it was 6 s."""
STATIC = Path(__file__).parent / "web" / "static"
GRAPHIQL_PAGE = STATIC / "graphiql.html"


def providers(settings: Settings) -> list[Provider]:
    """The outside identity providers that the settings name. Raises InvalidSettings."""
    if settings.auth_mode is AuthMode.LOCAL:
        return []
    try:
        return _providers(settings)
    except ValueError as error:
        raise InvalidSettings(f"The settings are wrong:\n  SUPABASE_*, OIDC_*: {error}") from None


def _providers(settings: Settings) -> list[Provider]:
    found = []
    algorithms = settings.supabase_jwt_algs
    if settings.supabase_project_ref or settings.supabase_jwks_url:
        found.append(
            Provider.supabase(
                settings.supabase_project_ref,
                settings.supabase_audience,
                algorithms,
                jwks_url=settings.supabase_jwks_url or None,
                issuer=settings.supabase_issuer or None,
            )
        )
    if settings.oidc_issuer:
        found.append(
            Provider(
                settings.oidc_issuer,
                settings.oidc_audience,
                algorithms,
                jwks_url=settings.oidc_jwks_url or None,
            )
        )
    return found


def policy(settings: Settings) -> Policy:
    return Policy(
        app_name=settings.app_name,
        version=version("auspex"),
        production=settings.production,
        debug=settings.debug,
        local_accounts=settings.local_accounts,
        allow_basic_auth=settings.allow_basic_auth,
        least_password_length=settings.least_password_length,
        time_zone=settings.time_zone,
        attendee_threshold=settings.attendee_threshold,
        train_enabled=settings.enable_model_train_endpoint,
        train_token=settings.model_train_token,
        train_networks=settings.train_networks,
        most_query_cost=settings.query_cost_limit,
        currency=settings.currency,
        hold_seconds=settings.promo_hold_seconds,
        credits_per_unit=settings.credits_per_unit,
        budget_per_minute=settings.query_budget_per_minute,
    )


def make_services(settings: Settings) -> Services:
    """One of each; nothing connects before it is used."""
    redis = Redis.from_url(
        settings.redis_url,
        socket_connect_timeout=2,
        health_check_interval=15,
        # once more on a new connection: a restart of Redis leaves dead ones in the pool
        retry=Retry(NoBackoff(), 1),
    )
    local = LocalTokens(
        settings.secret_key, timedelta(minutes=settings.access_token_expire_minutes)
    )
    database = Database(
        create_engine(
            settings.database_url,
            pool_size=settings.db_pool_size,
            recycle_seconds=settings.db_conn_max_age,
            statement_seconds=STATEMENT_SECONDS,
            idle_seconds=IDLE_SECONDS,
            lock_seconds=LOCK_SECONDS,
        )
    )
    models = ModelRegistry()
    announcer = Announcer(redis)

    return Services(
        policy=policy(settings),
        database=database,
        redis=redis,
        events=Events(redis),
        announcer=announcer,
        reserver=Reserver(database, announcer, utc_now),
        limiter=RateLimiter(settings.redis_url, enabled=settings.rate_limits),
        verifier=TokenVerifier(local if settings.local_accounts else None, providers(settings)),
        tokens=local,
        passwords=Passwords(),
        models=models,
        champions=Champions(database, models, settings.artifact_path),
        documents=Documents(DocumentLimits()),
        artifact_path=settings.artifact_path,
    )


def lifespan(services: Services) -> Callable[[Starlette], Any]:
    @asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        services.events.start()
        services.announcer.start()
        await services.champions.start()
        yield
        await services.champions.stop()
        await services.reserver.stop()
        await services.announcer.stop()
        await services.events.stop()
        await services.verifier.close()
        await services.limiter.close()
        await services.redis.aclose()
        services.passwords.close()
        await services.database.close()

    return live


async def schema_document(request: Request) -> Response:
    return PlainTextResponse(schema.as_str() + "\n")


def routes(graphql: GraphQLApp) -> list[BaseRoute]:
    return [
        Route("/graphql", graphql),
        WebSocketRoute("/graphql", graphql),
        Route("/schema.graphql", schema_document),
        Route("/healthz", probes.healthz),
        Route("/readyz", probes.readyz),
        Route("/metrics", probes.metrics),
        Route("/token", tokens.token, methods=["POST"]),
    ]


def create_app(settings: Settings, services: Services | None = None) -> Starlette:
    configure_logs(
        app_name=settings.app_name, level=settings.log_level, readable=not settings.production
    )
    made = services or make_services(settings)
    graphql = GraphQLApp(
        schema,
        lambda: made,
        graphiql_page=GRAPHIQL_PAGE if settings.graphiql else None,
        allowed_origins=settings.frontend_origin,
    )
    prefixed = Mount(settings.api_prefix, routes=routes(graphql)) if settings.api_prefix else None
    app = Starlette(
        routes=[
            *routes(graphql),
            *([prefixed] if prefixed else []),
            Route("/", lambda request: RedirectResponse("/graphql")),
            Mount("/static", BuiltFiles(directory=STATIC, check_dir=False)),
        ],
        middleware=[
            Middleware(Gate),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(settings.allowed_hosts)),
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.frontend_origin),
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type", "x-request-id", "x-train-token"],
                expose_headers=["x-request-id", "retry-after"],
            ),
        ],
        lifespan=lifespan(made),
    )
    app.state.services = made
    app.state.several_processes = bool(settings.prometheus_multiproc_dir)
    return app


def __getattr__(name: str) -> Any:
    """`app:app` for ASGI servers, made when asked for: importing this module needs no settings."""
    if name == "app":
        try:
            return create_app(load_or_exit())
        except InvalidSettings as error:
            raise SystemExit(str(error)) from None
    raise AttributeError(name)
