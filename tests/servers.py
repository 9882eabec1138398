"""Real processes of the product, on ports of their own, ended by their id."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx

from auth.tokens import LocalTokens
from commands.order import TrainedFile
from db.session import Database, create_engine
from dev.private_service import choose_port
from tests.databases import ROOT, cloned, redis_url
from tests.factories import register_champion

START_SECONDS = 120.0
SHARED_REDIS = 8  # its own: the other tests empty theirs
SECRET = "a-secret-of-the-tests"


def token_for(user_id: UUID, lifetime: timedelta = timedelta(hours=1)) -> str:
    """A token that the servers of the tests believe."""
    return LocalTokens(SECRET, lifetime).issue(user_id, datetime.now(UTC))[0]


def free_port() -> int:
    """Below the range of outgoing connections: one of those could take it before our process is up,
    or while it is down, and the clients of a server that is down could connect to themselves."""
    return choose_port()


def process_environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "DEBUG": "true", "SECRET_KEY": SECRET, **variables}


def start_auspex(*arguments: str, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The caller ends it; its output goes to the test's captured output."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=process_environment(variables),
        start_new_session=True,
    )


async def end(process: subprocess.Popen[bytes], how: int = signal.SIGTERM) -> None:
    if process.poll() is None:
        process.send_signal(how)
    try:
        await asyncio.to_thread(process.wait, 30)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
        await asyncio.to_thread(process.wait)


@asynccontextmanager
async def running_server(variables: Mapping[str, str], *options: str) -> AsyncIterator[str]:
    """Its address, once it is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = start_auspex("serve", "--port", str(port), *options, variables=variables)
    try:
        await until_ready(url, process)
        yield url
    finally:
        await end(process)


async def until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    async with httpx.AsyncClient() as client:
        while asyncio.get_running_loop().time() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}")
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise TimeoutError(f"{url} was not ready within {START_SECONDS:.0f} s")


def run_auspex(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The `auspex` command as an operator runs it."""
    environment = {"PATH": os.environ["PATH"], "DEBUG": "true", **variables}
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


@dataclass(frozen=True)
class RunningServer:
    url: str
    database_url: str


@contextmanager
def shared_server(
    template: str, redis_number: int, folder: Path, trained: TrainedFile
) -> Iterator[RunningServer]:
    """A server on a clone of the template, whose champion is the trained artifact.

    Its rate limits are off: the tests that share it come from one address.
    """
    with asyncio.Runner() as runner:
        clone = cloned(template)
        database_url = runner.run(clone.__aenter__())
        runner.run(_register(database_url, trained))
        variables = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url(redis_number + SHARED_REDIS),
            "MODEL_DIR": str(folder),
            "RATE_LIMITS": "false",
        }
        running = running_server(variables)
        url = runner.run(running.__aenter__())
        try:
            yield RunningServer(url, database_url)
        finally:
            runner.run(running.__aexit__(None, None, None))
            runner.run(clone.__aexit__(None, None, None))


async def _register(database_url: str, trained: TrainedFile) -> None:
    database = Database(create_engine(database_url, pool_size=1))
    await register_champion(database, trained)
    await database.close()
