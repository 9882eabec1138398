"""What a server answers with follows the registry, by hash, without a restart (Q48, U12, U65)."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from commands.order import TrainedFile
from db.models.accounts import Role
from db.models.models import AliasName
from db.session import Database
from db.transactions.models import TrainedArtifact, ensure_model, register_version, set_alias
from schema.edge.definitions import ATTENDANCE
from schema.edge.services import Services
from settings import Settings
from tests.clients import Api, SignIn
from tests.factories import ATTENDEE, make_model, make_version, promote, right_now

SCORE = "query s($a: AttendeeInput!) { score(input: $a) { modelVersion isMock } }"


async def answering(api: Api) -> dict[str, object]:
    answer: dict[str, object] = (await api(SCORE, a=ATTENDEE))["score"]
    return answer


def artifact_file(settings: Settings, champion: TrainedFile) -> Path:
    return settings.model_dir / champion.artifact.path


async def restart(services: Services) -> None:
    """What a new process does: nothing is loaded yet, and it looks at the registry."""
    services.models.remove(ATTENDANCE.key)
    services.champions._wanted[ATTENDANCE.key] = None
    await services.champions.refresh()


@pytest.fixture
async def api(api: Api, services: Services) -> Api:
    """Only the test looks at the registry: the server's own look, once a second, could come in
    between and put back what it had read before."""
    await services.champions.stop()
    return api


MOCK = {"modelVersion": "mock", "isMock": True}
FIRST = {"modelVersion": "v1", "isMock": False}


async def test_a_new_champion_answers_after_the_next_look(
    champion: TrainedFile, services: Services, database: Database, api: Api
) -> None:
    await services.champions.refresh()
    assert await answering(api) == FIRST
    async with database.transaction() as session:
        model = await ensure_model(session, ATTENDANCE, right_now())
        again = await register_version(
            session,
            model,
            champion.artifact,
            promote=False,
            better_than=None,
            reason="a test",
            now=datetime.now(UTC),
        )
        await set_alias(
            session, model, AliasName.CHAMPION, again.id, by=None, reason=None, now=right_now()
        )
    await services.champions.refresh()
    assert await answering(api) == {"modelVersion": "v2", "isMock": False}


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "missing"])
async def test_a_damaged_artifact_mocks_its_model_and_the_repaired_one_serves(
    champion: TrainedFile,
    training: tuple[Path, TrainedFile],
    settings: Settings,
    services: Services,
    api: Api,
    damage: str,
) -> None:
    file = artifact_file(settings, champion)
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:1000] if damage == "truncated" else b"not a model")
    await restart(services)
    assert await answering(api) == MOCK
    assert (await api("{ health { status mockModels } }"))["health"] == {
        "status": "ok",
        "mockModels": ["attendance"],
    }
    shutil.copy(training[0] / champion.artifact.path, file)
    await services.champions.refresh()
    assert await answering(api) == FIRST


async def test_a_pickle_of_somebody_else_is_never_opened(
    champion: TrainedFile, settings: Settings, services: Services, api: Api, tmp_path: Path
) -> None:
    witness = tmp_path / "it ran"
    code = f"cos\nsystem\n(S'touch \"{witness}\"'\ntR."
    artifact_file(settings, champion).write_bytes(code.encode())
    await restart(services)
    assert await answering(api) == MOCK
    assert not witness.exists()


async def test_a_damaged_artifact_mocks_no_other_model(
    champion: TrainedFile, services: Services, database: Database, api: Api
) -> None:
    other = await make_model(database, "other")
    await promote(database, other, await make_version(database, other))
    await services.champions.refresh()
    assert await answering(api) == FIRST
    models = (await api("{ models { nodes { key isMock } } }"))["models"]["nodes"]
    assert {one["key"]: one["isMock"] for one in models} == {"attendance": False, "other": True}
    assert (await api("{ health { mockModels } }"))["health"]["mockModels"] == ["other"]


async def test_while_the_database_is_away_the_champion_answers_on(
    champion: TrainedFile, services: Services, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.champions.refresh()

    def away(database: Database) -> None:
        raise ConnectionError("the database is away")

    monkeypatch.setattr(Database, "read", away)
    await services.champions.refresh()
    assert await answering(api) == FIRST


async def test_an_admin_rolls_back_to_an_older_version(
    champion: TrainedFile, services: Services, database: Database, sign_in: SignIn
) -> None:
    admin, person = await sign_in(Role.ADMIN)
    async with database.transaction() as session:
        model = await ensure_model(session, ATTENDANCE, right_now())
        newer: TrainedArtifact = champion.artifact
        made = await register_version(
            session, model, newer, promote=False, better_than=None, reason="", now=right_now()
        )
        await set_alias(
            session, model, AliasName.CHAMPION, made.id, by=None, reason=None, now=right_now()
        )
    ids = await admin('{ model(key: "attendance") { id versions { nodes { id version } } } }')
    versions = {one["version"]: one["id"] for one in ids["model"]["versions"]["nodes"]}
    answer = await admin(
        """mutation back($m: ID!, $v: ID!) {
          setModelAlias(modelId: $m, alias: CHAMPION, versionId: $v, reason: "v2 drifted") {
            model {
              champion { version }
              aliasHistory(limit: 1) { from { version } to { version } reason by { username } }
            }
            userErrors { code message }
          }
        }""",
        m=ids["model"]["id"],
        v=versions["v1"],
    )
    assert answer["setModelAlias"]["userErrors"] == []
    assert answer["setModelAlias"]["model"] == {
        "champion": {"version": "v1"},
        "aliasHistory": [
            {
                "from": {"version": "v2"},
                "to": {"version": "v1"},
                "reason": "v2 drifted",
                "by": {"username": person.username},
            }
        ],
    }
