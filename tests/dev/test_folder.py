import os
import stat
from pathlib import Path

import pytest

from dev import folder
from dev.folder import DataFolder, FileLock, parse_env_file
from dev.terminal import SetupError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("PORT=8001", {"PORT": "8001"}),
        ("export PORT=8001", {"PORT": "8001"}),
        ("  NAME = spaced out ", {"NAME": "spaced out"}),
        ("NAME='single # quoted' # why", {"NAME": "single # quoted"}),
        ('NAME="double"', {"NAME": "double"}),
        ("URL=redis://:pass#word@host/0", {"URL": "redis://:pass#word@host/0"}),
        ("NAME=value # why", {"NAME": "value"}),
        ("DATABASE_URL=", {}),
        ("DATABASE_URL= # left empty", {}),
        ("# NAME=value", {}),
        ("no assignment", {}),
        ("", {}),
    ],
)
def test_env_file_line(line: str, expected: dict[str, str]) -> None:
    assert parse_env_file(line) == expected


def test_real_environment_wins_unless_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "PROJECT", tmp_path)
    (tmp_path / ".env").write_text("PORT=1\nSECRET_KEY=file\nREDIS_URL=file\n")
    merged = folder.environment({"PORT": "2", "REDIS_URL": ""})
    assert merged == {"PORT": "2", "SECRET_KEY": "file", "REDIS_URL": "file"}


def test_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    data = DataFolder.open({"AUSPEX_DATA": str(tmp_path / "data")})
    first = data.secret("secret-key")
    assert len(first) >= 48
    assert data.secret("secret-key") == first
    assert stat.S_IMODE((data.path / "secret-key").stat().st_mode) == 0o600


def test_two_folders_have_different_secrets(tmp_path: Path) -> None:
    one, two = (DataFolder.open({"AUSPEX_DATA": str(tmp_path / name)}) for name in "ab")
    assert one.secret("secret-key") != two.secret("secret-key")


def test_data_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(SetupError, match="belongs to another user"):
        DataFolder.open({"AUSPEX_DATA": str(tmp_path)})


def test_data_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot write"):
        DataFolder.open({"AUSPEX_DATA": str(tmp_path / "file" / "data")})


def test_lock_is_held_by_one_and_says_by_whom(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.hold(wait=False)
    first.note("process 7")
    assert not second.hold(wait=False)
    assert second.read_note() == "process 7"
    first.release()
    assert second.hold(wait=False)
    second.release()
