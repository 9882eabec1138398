import os
import shutil
from pathlib import Path

import pytest

from dev.packages import Need, install_missing
from dev.terminal import SetupError

NEEDS = {Need.POSTGRES: True, Need.REDIS: True, Need.VENV: False}


@pytest.fixture(autouse=True)
def nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Need, "is_there", lambda self: False)


def only_on_path(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name in programs else None)


def test_without_apt_the_message_names_what_is_missing_and_docker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only_on_path(monkeypatch)
    with pytest.raises(SetupError) as raised:
        install_missing(tmp_path / "log", NEEDS)
    message = str(raised.value)
    assert "PostgreSQL" in message
    assert "Redis" in message
    assert "venv" not in message
    assert "docker compose up --build" in message


def test_without_root_and_sudo_the_message_has_the_command_for_an_administrator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only_on_path(monkeypatch, "apt-get")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="postgresql-postgis redis-tools"):
        install_missing(tmp_path / "log", NEEDS)


def test_nothing_is_asked_when_nothing_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only_on_path(monkeypatch)
    install_missing(tmp_path / "log", dict.fromkeys(Need, False))
