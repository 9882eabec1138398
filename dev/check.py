"""`make check`: every gate, each with its result and time, all of them even if one fails."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dev.folder import PROJECT, DataFolder
from dev.private_postgres import postgis_servers
from dev.processes import start_process, stop_process
from dev.shared_services import shared_services
from dev.sql import create_scratch_database, drop_database
from dev.terminal import SetupError, paint, say
from dev.testing import set_up
from dev.tools import VENV, Tools

BUILD_OUTPUTS = ("web/static", "dist", ".coverage")
CACHES = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache")
# What uv says when it could not look something up: then the lock was not judged at all.
OFFLINE_SIGNS = ("failed to fetch", "dns error", "error sending request", "error trying to connect")


@dataclass(frozen=True)
class Outcome:
    passed: bool
    output: str = ""
    note: str = ""


Gate = Callable[[], Outcome]


def run_check(folder: DataFolder, env: Mapping[str, str], _: Sequence[str]) -> int:
    tools = set_up(folder, env)
    started = time.monotonic()
    with shared_services(folder, env) as urls:
        psql = _psql()
        scratch = create_scratch_database(psql, urls.database)
        try:
            settings = _settings(scratch, urls.redis)
            failed = [name for name, gate in _gates(tools, settings) if not _passes(name, gate)]
        finally:
            drop_database(psql, urls.database, scratch)
    seconds = time.monotonic() - started
    if failed:
        say(paint(f"\n{len(failed)} failed: {', '.join(failed)} ({seconds:.1f} s)", "1;31"))
        return 1
    say(paint(f"\nAll gates passed ({seconds:.1f} s)", "1;32"))
    return 0


def _gates(tools: Tools, settings: Mapping[str, str]) -> list[tuple[str, Gate]]:
    def program(*words: str) -> Gate:
        return lambda: _run([str(VENV / "bin" / words[0]), *words[1:]], settings)

    return [
        ("lint", program("ruff", "check", ".")),
        ("format", program("ruff", "format", "--check", ".")),
        ("types", program("mypy", ".")),
        ("imports", program("lint-imports")),
        ("schema export is current", program("auspex", "export-schema", "--check")),
        ("migrations go up", program("alembic", "upgrade", "head")),
        ("migrations match the models", program("alembic", "check")),
        ("migrations go down", program("alembic", "downgrade", "base")),
        ("migrations go up again", program("alembic", "upgrade", "head")),
        ("lock file is current", lambda: _check_lock(tools)),
    ]


def _passes(name: str, gate: Gate) -> bool:
    say(f"  {name:<40}", end="")
    started = time.monotonic()
    outcome = gate()
    verdict = paint("ok", "32") if outcome.passed else paint("FAILED", "31")
    say(f"{time.monotonic() - started:6.1f} s  {outcome.note or verdict}")
    if not outcome.passed:
        for line in outcome.output.splitlines():
            say(f"      {line}")
    return outcome.passed


def _run(command: Sequence[str], env: Mapping[str, str] | None = None) -> Outcome:
    process = start_process(
        command, output=subprocess.PIPE, cwd=PROJECT, env=env, dies_with_us=signal.SIGTERM
    )
    try:
        output, _ = process.communicate()
    finally:
        stop_process(process, ask=signal.SIGTERM, patience_seconds=3)
    return Outcome(process.returncode == 0, output.decode(errors="replace"))


def _check_lock(tools: Tools) -> Outcome:
    outcome = _run([tools.uv(), "lock", "--check", "--python", str(VENV / "bin" / "python")])
    if not outcome.passed and any(sign in outcome.output.lower() for sign in OFFLINE_SIGNS):
        return Outcome(passed=True, note="not judged: no package index was reached")
    return outcome


def _settings(database_url: str, redis_url: str) -> dict[str, str]:
    known = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "DEBUG": "true"}
    return os.environ | known


def _psql() -> str:
    found = postgis_servers()
    program = str(found[max(found)] / "psql") if found else shutil.which("psql")
    if program is None:
        raise SetupError("psql is needed to make a scratch database; install postgresql-client")
    return program


def run_format(folder: DataFolder, env: Mapping[str, str], _: Sequence[str]) -> int:
    Tools(folder).environment()
    ruff = str(VENV / "bin" / "ruff")
    fixed = _run([ruff, "check", "--fix", "."])
    formatted = _run([ruff, "format", "."])
    say((fixed.output + formatted.output).rstrip())
    return 0 if fixed.passed and formatted.passed else 1


def run_clean(*_: object) -> int:
    for name in (*BUILD_OUTPUTS, *CACHES):
        path = PROJECT / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for cache in PROJECT.rglob("__pycache__"):
        if ".venv" not in cache.parts and "node_modules" not in cache.parts:
            shutil.rmtree(cache, ignore_errors=True)
    return 0
