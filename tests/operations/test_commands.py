"""The `auspex` command as an operator runs it (Q12, Q16-Q20, C34, F39)."""

from pathlib import Path

import pytest
from sqlalchemy import text

from db.session import Database
from tests.servers import run_auspex

pytestmark = pytest.mark.slow


@pytest.fixture
def variables(database_url: str, redis_address: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_address,
        "MODEL_PATH": str(tmp_path / "models" / "attendee.joblib"),
    }


async def rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    async with database.read() as reader:
        return [tuple(row) for row in await reader.execute(text(statement))]


async def test_train_model_writes_the_artifact_and_it_serves(
    variables: dict[str, str], database: Database
) -> None:
    ended = run_auspex("train-model", **variables)
    assert ended.returncode == 0, ended.stderr
    assert "It serves now." in ended.stdout
    assert Path(variables["MODEL_PATH"]).exists()
    champions = "SELECT v.version FROM model_aliases JOIN model_versions v ON v.id = version_id"
    assert await rows(database, champions) == [("v1",)]


async def test_a_training_that_fails_leaves_everything_as_it_was(
    variables: dict[str, str], database: Database, tmp_path: Path
) -> None:
    artifact = Path(variables["MODEL_PATH"])
    artifact.parent.mkdir()
    artifact.write_bytes(b"the old one")
    table = tmp_path / "few.csv"
    table.write_text("email,attended\nana@example.com,1\n")
    ended = run_auspex("train", "attendance", "--csv", str(table), **variables)
    assert ended.returncode != 0
    assert "age" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert artifact.read_bytes() == b"the old one"
    assert await rows(database, "SELECT * FROM model_versions") == []


async def test_a_model_that_is_not_better_is_registered_and_does_not_serve(
    variables: dict[str, str], database: Database
) -> None:
    run_auspex("train-model", **variables)
    kept = Path(variables["MODEL_PATH"]).read_bytes()
    ended = run_auspex("train", "attendance", "--no-promote", "--seed", "1", **variables)
    assert "not serving" in ended.stdout
    assert Path(variables["MODEL_PATH"]).read_bytes() == kept
    champions = "SELECT v.version FROM model_aliases JOIN model_versions v ON v.id = version_id"
    assert await rows(database, champions) == [("v1",)]


async def test_prepare_can_be_repeated_and_adds_nothing(
    variables: dict[str, str], database: Database
) -> None:
    counts = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM model_versions)"
    for _ in range(2):
        ended = run_auspex("prepare", **variables)
        assert ended.returncode == 0, ended.stderr
        assert await rows(database, counts) == [(3, 1)]


async def test_create_admin_is_idempotent_per_address(
    variables: dict[str, str], database: Database
) -> None:
    for password in ("first-password", "second-password"):
        options = ("--email", "boss@example.com", "--password", password)
        ended = run_auspex("create-superuser", *options, **variables)
        assert ended.returncode == 0, ended.stderr
        assert password not in ended.stdout
    assert await rows(database, "SELECT email, role FROM users") == [("boss@example.com", "ADMIN")]


async def test_create_admin_names_what_is_wrong(
    variables: dict[str, str], database: Database
) -> None:
    options = ("--email", "nonsense", "--password", "long enough")
    ended = run_auspex("create-admin", *options, **variables)
    assert ended.returncode != 0
    assert "e-mail" in ended.stderr
    assert await rows(database, "SELECT * FROM users") == []


async def test_demo_accounts_are_refused_in_production(
    variables: dict[str, str], database: Database
) -> None:
    production = {"APP_ENV": "prod", "DEBUG": "false", "SECRET_KEY": "k" * 40}
    ended = run_auspex("init-db", **{**variables, **production})
    assert ended.returncode != 0
    assert await rows(database, "SELECT * FROM users") == []


def test_queues_and_failed_jobs_are_shown(variables: dict[str, str]) -> None:
    assert "queued" in run_auspex("queues", **variables).stdout
    assert "No job has failed" in run_auspex("jobs", "list", **variables).stdout
    unknown = run_auspex("jobs", "retry", "00000000-0000-4000-8000-000000000001", **variables)
    assert unknown.returncode != 0


@pytest.mark.parametrize("export", ["export-schema", "export-settings"])
def test_what_is_written_from_the_code_is_up_to_date(export: str) -> None:
    assert run_auspex(export, "--check").returncode == 0
