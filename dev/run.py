"""`make run`: set up what is missing, then run the whole system in this terminal."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from dev.address import Address
from dev.folder import PROJECT, DataFolder, FileLock
from dev.packages import Need, install_missing
from dev.private_postgres import PrivatePostgres
from dev.private_redis import PrivateRedis
from dev.private_service import PrivateService
from dev.processes import start_process
from dev.service_home import service_home
from dev.supervisor import Part, Supervisor
from dev.terminal import SetupError, Stop, coloured, paint, say, step
from dev.tools import VENV, Tools, run_logged

READY_SECONDS = 90.0
# Long enough for a wrong setting to end a process, short enough not to be felt.
SETTLED_SECONDS = 1.0
AUSPEX = str(VENV / "bin" / "auspex")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(folder: DataFolder, env: Mapping[str, str], _: Sequence[str]) -> int:
    started = time.monotonic()
    lock = _lock(folder)
    address = Address(env)
    lock.note(f"{address.url} (process {os.getpid()})")
    say(paint("Auspex", "1") + f" with its data in {folder.path}")
    supervisor = Supervisor()
    try:
        settings = _prepare(supervisor, folder, dict(env))
        _start_parts(supervisor, folder, settings, address)
        _wait_until_ready(supervisor, address)
        lock.note(f"{address.url} (process {os.getpid()})")
        _announce(address, settings)
        say(f"Started in {time.monotonic() - started:.1f} s. Ctrl-C ends everything.\n")
        while True:
            supervisor.turn()
    except Stop:
        say("\nStopping …")
        return 0
    finally:
        supervisor.stop(hurry=_second_signal())
        lock.release()


def _lock(folder: DataFolder) -> FileLock:
    lock = FileLock(folder.path / "run.lock")
    if not lock.hold(wait=False):
        note = lock.read_note()
        lock.release()
        raise SetupError(
            f"it runs already: {note}\n"
            "For a second copy beside it, set AUSPEX_DATA to another folder."
        )
    return lock


def _prepare(supervisor: Supervisor, folder: DataFolder, env: dict[str, str]) -> dict[str, str]:
    tools = Tools(folder)
    needs = {
        Need.POSTGRES: "DATABASE_URL" not in env,
        Need.REDIS: "REDIS_URL" not in env,
        Need.VENV: not tools.uv_on_path(),
    }
    install_missing(folder.logs / "apt.log", needs)
    tools.environment()
    tools.web_pages()
    settings = env | _development_settings(folder, env)
    settings |= _private_services(supervisor, folder, env)
    _prepare_data(folder, settings)
    return settings


def _development_settings(folder: DataFolder, env: Mapping[str, str]) -> dict[str, str]:
    defaults = {"APP_ENV": "dev", "MODEL_DIR": str(folder.path / "models")}
    if env.get("APP_ENV", "dev") == "dev":
        defaults |= {"DEBUG": "true", "SECRET_KEY": folder.secret("secret-key")}
    return {name: value for name, value in defaults.items() if name not in env}


def _private_services(
    supervisor: Supervisor, folder: DataFolder, env: Mapping[str, str]
) -> dict[str, str]:
    kinds: dict[str, type[PrivateService]] = {
        "REDIS_URL": PrivateRedis,
        "DATABASE_URL": PrivatePostgres,
    }
    wanted = {variable: kind for variable, kind in kinds.items() if variable not in env}
    if not wanted:
        return {}
    home = service_home(folder.path, "services")
    urls: dict[str, str] = {}
    # Rank: they end after the parts that use them, Redis first.
    for rank, (variable, kind) in enumerate(wanted.items(), start=1):
        service = kind(home / kind.name.lower())
        with step(f"Private {kind.name}"):
            supervisor.add(_service_part(service, rank))
        urls[variable] = service.url
    return urls


def _service_part(service: PrivateService, rank: int) -> Part:
    url = ""

    def start() -> "subprocess.Popen[bytes]":
        nonlocal url
        service.start()
        assert service.process is not None
        if url and service.url != url:
            raise SetupError(f"{service.name} lost its port to another program; start again")
        url = service.url
        return service.process

    return Part(service.name, start, service.stop_signal, patience_seconds=20, rank=rank)


def _prepare_data(folder: DataFolder, env: Mapping[str, str]) -> None:
    # One process for all of it: each `auspex` command spends a second on imports.
    with step("Tables, demo data and models"):
        run_logged([AUSPEX, "prepare"], folder.logs / "prepare.log", env=env)


def _start_parts(
    supervisor: Supervisor, folder: DataFolder, settings: Mapping[str, str], address: Address
) -> None:
    say("  Starting the API, the worker and the scheduler\n")
    host, workers = settings.get("HOST", "127.0.0.1"), settings.get("WEB_CONCURRENCY", "1")
    # Python holds back what it prints into a pipe; the logs would come late and in lumps.
    shown = dict(settings) | {"PYTHONUNBUFFERED": "1"}
    if coloured():
        shown["FORCE_COLOR"] = "1"

    def serve() -> "subprocess.Popen[bytes]":
        address.choose_again()
        port = str(address.port)
        arguments = ["--host", host, "--port", port, "--workers", workers]
        return _start_program(["serve", *arguments], shown | {"PORT": port})

    def work() -> "subprocess.Popen[bytes]":
        return _start_program(["worker", "--processes", "1", "--threads", "4"], shown)

    def schedule() -> "subprocess.Popen[bytes]":
        return _start_program(["scheduler"], shown)

    def part(name: str, start: Callable[[], "subprocess.Popen[bytes]"], colour: str) -> Part:
        return Part(
            name, start, patience_seconds=12, colour=colour, log=folder.logs / f"{name}.log"
        )

    supervisor.add(part("api", serve, "36"))
    supervisor.add(part("worker", work, "35"))
    supervisor.add(part("scheduler", schedule, "34"))


def _start_program(arguments: Sequence[str], env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    return start_process(
        [AUSPEX, *arguments],
        output=subprocess.PIPE,
        cwd=PROJECT,
        env=env,
        dies_with_us=signal.SIGTERM,
    )


def _wait_until_ready(supervisor: Supervisor, address: Address) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not (supervisor.settled(SETTLED_SECONDS) and address.answers()):
        if time.monotonic() > deadline:
            raise SetupError(f"no answer from /readyz on port {address.port} in time")
        supervisor.turn()
    address.fixed = True


def _announce(address: Address, env: Mapping[str, str]) -> None:
    accounts = subprocess.run(
        [AUSPEX, "demo-accounts"], env=env, capture_output=True, text=True, check=False
    )
    say(f"\n{paint(f'Ready: {address.url}', '1;32')}\n")
    say(accounts.stdout.rstrip() + "\n")


def _second_signal() -> Callable[[], bool]:
    """From here on a signal no longer interrupts; another one ends the waiting."""
    seen: list[int] = []

    def remember(signum: int, _: FrameType | None) -> None:
        seen.append(signum)

    for number in SIGNALS:
        signal.signal(number, remember)
    return lambda: bool(seen)
