"""Starting the server and bringing the database up to date."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from commands.demo import init_db
from commands.operator import settings_with_logs
from commands.training import train_missing

ALEMBIC = Path(__file__).parent.parent / "alembic.ini"
GRACEFUL_SECONDS = 10
LARGEST_SOCKET_MESSAGE = 256 * 1024


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (HOST).")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port to listen on (PORT).")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes behind the port.")] = 1,
) -> None:
    """Answer on /graphql, with GraphiQL, health checks and metrics beside it."""
    settings = settings_with_logs()
    if workers > 1 and not settings.prometheus_multiproc_dir:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="auspex-metrics-")
    uvicorn.run(
        "app:app",
        host=host or settings.host,
        port=port if port is not None else settings.port,
        workers=workers,
        http="schema.edge.slow_clients:PatientProtocol",
        ws="websockets-sansio",
        # Measured: 160 KB a socket with compression, 54 KB without, for messages of 200 bytes.
        ws_per_message_deflate=False,
        ws_max_size=LARGEST_SOCKET_MESSAGE,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        log_config=None,
        access_log=False,
        server_header=False,
    )


def migrate(
    revision: Annotated[str, typer.Argument(help="Revision to go to.")] = "head",
) -> None:
    """Bring the database's tables up to date (alembic upgrade head)."""
    settings_with_logs()
    try:
        command.upgrade(Config(ALEMBIC), revision)
    except CommandError as error:
        raise SystemExit(str(error)) from None


def prepare() -> None:
    """All that must be there before serving: tables, demo data (in development), models."""
    settings = settings_with_logs()
    migrate("head")
    train_missing()
    if settings.seed_demo_data and not settings.production:
        init_db()  # last: its promos go live soon after


COMMANDS = {"serve": serve, "migrate": migrate, "prepare": prepare}
