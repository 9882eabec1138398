"""The commands, and what they share: one data folder, signals, and how failure is shown."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from dev import check, run, testing
from dev.folder import PROJECT, DataFolder, environment
from dev.shared_services import services_down, services_up
from dev.terminal import SetupError, Stop, explain, say

Command = Callable[[DataFolder, Mapping[str, str], Sequence[str]], int]

COMMANDS: dict[str, Command] = {
    "run": run.run,
    "test": testing.run_tests,
    "check": check.run_check,
    "format": check.run_format,
    "clean": check.run_clean,
    "bench": testing.run_benchmarks,
    "quality": testing.run_quality,
    "services-up": lambda folder, env, _: services_up(folder, env),
    "services-down": lambda folder, env, _: services_down(folder, env),
}


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS:
        say(f"Commands: {', '.join(COMMANDS)}. See `make help`.")
        return 2
    os.chdir(PROJECT)
    _end_on_signals()
    try:
        env = environment()
        return COMMANDS[arguments[0]](DataFolder.open(env), env, arguments[1:])
    except SetupError as fault:
        explain(fault)
        return 1
    except Stop as stop:
        return 128 + stop.signum


def _end_on_signals() -> None:
    def end(signum: int, _: FrameType | None) -> None:
        raise Stop(signum)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup make run` lives on
            signal.signal(number, end)
