"""`make test`, `make bench`, `make quality`: programs that run against the test services."""

import os
import signal
from collections.abc import Mapping, Sequence

from dev import browser
from dev.folder import PROJECT, DataFolder
from dev.packages import Need, install_missing
from dev.processes import start_process, stop_process
from dev.shared_services import DATABASE_VARIABLE, REDIS_VARIABLE, shared_services
from dev.tools import VENV, Tools

TEST_PROCESSES = "2"
"""Each has its own databases. More than two would share the cores of a small machine."""


def set_up(
    folder: DataFolder,
    env: Mapping[str, str],
    *,
    pages: bool = False,
    groups: Sequence[str] = (),
) -> Tools:
    tools = Tools(folder)
    needs = {
        Need.POSTGRES: DATABASE_VARIABLE not in env,
        Need.REDIS: REDIS_VARIABLE not in env,
        Need.VENV: not tools.uv_on_path(),
        Need.BROWSER: pages and browser.offered_by_the_system(),
    }
    install_missing(folder.logs / "apt.log", needs)
    tools.environment(*(f"--group={name}" for name in groups))
    tools.web_pages()
    return tools


def run_tests(folder: DataFolder, env: Mapping[str, str], arguments: Sequence[str]) -> int:
    set_up(folder, env, pages=True)
    browser.download_if_missing(folder)
    return run_with_services(folder, env, [_program("pytest"), "-n", TEST_PROCESSES, *arguments])


def run_benchmarks(folder: DataFolder, env: Mapping[str, str], arguments: Sequence[str]) -> int:
    set_up(folder, env)
    return run_with_services(folder, env, [_program("python"), "benchmarks/run.py", *arguments])


def run_quality(folder: DataFolder, env: Mapping[str, str], arguments: Sequence[str]) -> int:
    set_up(folder, env, groups=["quality"])
    return run_with_services(folder, env, [_program("python"), "benchmarks/quality.py", *arguments])


def run_with_services(folder: DataFolder, env: Mapping[str, str], command: Sequence[str]) -> int:
    with shared_services(folder, env) as urls:
        found = browser.find_browser(folder)
        extra = {browser.VARIABLE: found} if found else {}
        # The real environment only: a developer's `.env` must not change what tests see.
        return in_foreground(command, os.environ | urls.as_environment() | extra)


def in_foreground(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Its output is the terminal's; it and its children are gone when this returns."""
    process = start_process(
        command,
        output=1,
        cwd=PROJECT,
        env=env,
        dies_with_us=signal.SIGTERM,
    )
    try:
        return process.wait()
    finally:
        # pytest tidies up on SIGINT as on Ctrl-C.
        stop_process(process, ask=signal.SIGINT, patience_seconds=15)


def _program(name: str) -> str:
    return str(VENV / "bin" / name)
