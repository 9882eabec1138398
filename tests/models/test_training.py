"""Training: by command, by mutation through a real worker, and what survives (Q13-Q20, Q39-Q45)."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from db.models.accounts import Role
from db.session import Database
from tests.clients import Api
from tests.factories import ATTENDEE, make_user
from tests.private_redis import OwnRedis
from tests.servers import end, running_server, start_auspex, token_for

TRAIN = """
mutation train($input: TrainInput!) {
  train(input: $input) { run { id status model { key } } userErrors { code field message } }
}
"""
RUN = """
query run($id: ID!) {
  trainingRun(id: $id) {
    status promoted error version { version aliases rows sha256 } metrics { rocAuc accuracy }
  }
}
"""
SCORE = "query s($a: AttendeeInput!) { score(input: $a) { modelVersion isMock riskLabel } }"
TRAIN_TOKEN = "let-me-train"
PATIENT = 300.0
"""Seconds. A training, perhaps after lapsed leases, on cores that others use as well."""

ALLOWED = {"ENABLE_MODEL_TRAIN_ENDPOINT": "true", "MODEL_TRAIN_TOKEN": TRAIN_TOKEN}


def with_token(token: str | None) -> dict[str, str]:
    return {"X-Train-Token": token} if token else {}


async def asked(api: Api, token: str | None = TRAIN_TOKEN, key: str = "attendance") -> Any:
    return await api(TRAIN, headers=with_token(token), input={"modelKey": key})


@pytest.mark.parametrize("token", [None, TRAIN_TOKEN])
async def test_training_by_api_is_off_by_default(api: Api, token: str | None) -> None:
    assert (await asked(api, token)).code == "FEATURE_DISABLED"


class TestAllowed:
    @pytest.fixture
    def settings_variables(self) -> dict[str, str]:
        return ALLOWED

    @pytest.mark.parametrize(
        ("token", "code"), [(None, "UNAUTHENTICATED"), ("wrong", "FORBIDDEN"), ("é", "FORBIDDEN")]
    )
    async def test_it_needs_its_own_token(self, api: Api, token: str | None, code: str) -> None:
        headers = {b"x-train-token": token.encode()} if token else {}
        body = {"query": TRAIN, "variables": {"input": {}}}
        answer = (await api.http.post("/graphql", json=body, headers=headers)).json()
        assert answer["errors"][0]["extensions"]["code"] == code

    async def test_a_run_is_queued_and_a_second_one_waits_its_turn(self, api: Api) -> None:
        first = (await asked(api))["train"]
        assert first["run"]["status"] == "QUEUED"
        assert first["run"]["model"] == {"key": "attendance"}
        second = (await asked(api))["train"]
        assert second["run"] is None
        assert second["userErrors"][0]["code"] == "TRAINING_IN_PROGRESS"

    async def test_of_many_requests_at_once_one_is_queued(self, api: Api) -> None:
        answers = await asyncio.gather(*(asked(api) for _ in range(5)))
        assert sum(a["train"]["run"] is not None for a in answers) == 1

    async def test_an_unknown_model_is_not_found(self, api: Api) -> None:
        answer = (await asked(api, key="nothing"))["train"]
        assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [
            ("NOT_FOUND", ["input", "modelKey"])
        ]


class TestFromAnotherNetwork:
    @pytest.fixture
    def settings_variables(self) -> dict[str, str]:
        return {**ALLOWED, "TRAIN_ALLOWED_CIDRS": "10.0.0.0/8"}

    async def test_a_network_that_is_not_listed_is_forbidden(self, api: Api) -> None:
        assert (await asked(api)).code == "FORBIDDEN"


@pytest.fixture
def variables(database_url: str, redis_address: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_address,
        "MODEL_DIR": str(tmp_path / "models"),
        **ALLOWED,
    }


class Stack:
    """The product as it runs: server, worker, scheduler, each a process of its own."""

    def __init__(self, url: str, variables: dict[str, str], api: Api) -> None:
        self.url, self.variables, self.api = url, variables, api
        self.worker = start_auspex("worker", variables=variables)

    async def kill_worker(self) -> None:
        """The whole group at once, as a machine that loses power does."""
        os.killpg(self.worker.pid, signal.SIGKILL)
        await asyncio.to_thread(self.worker.wait)

    def start_worker(self) -> None:
        self.worker = start_auspex("worker", variables=self.variables)

    async def status(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api(RUN, id=run))["trainingRun"]
        return found

    async def until(self, run: str, statuses: set[str]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENT
        while time.monotonic() < deadline:
            found = await self.status(run)
            if found["status"] in statuses:
                return found
            await asyncio.sleep(0.2)
        raise AssertionError(f"still {found} after {PATIENT} s")

    async def until_it_serves(self) -> None:
        """The server has noticed the champion, without a restart."""
        deadline = time.monotonic() + PATIENT
        while (await self.api("{ health { mockModels } }"))["health"]["mockModels"]:
            assert time.monotonic() < deadline, "the server still mocks"
            await asyncio.sleep(0.2)


async def until_sent(database: Database) -> None:
    """The relay has brought every message to Redis."""
    statement = text("SELECT count(*), count(dispatched_at) FROM outbox")
    async with asyncio.timeout(PATIENT):
        while True:
            async with database.read() as reader:
                written, sent = (await reader.execute(statement)).one()
            if written and written == sent:
                return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def whole_stack(variables: dict[str, str], database: Database) -> AsyncIterator[Stack]:
    admin = await make_user(database, role=Role.ADMIN)
    async with AsyncExitStack() as opened:
        url = await opened.enter_async_context(running_server(variables))
        http = await opened.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        stack = Stack(url, variables, Api(http, token_for(admin.id)))
        scheduler = start_auspex("scheduler", variables=variables)
        try:
            yield stack
        finally:
            await end(stack.worker)
            await end(scheduler)


@pytest.mark.slow
async def test_a_worker_trains_and_running_servers_pick_the_champion_up(
    variables: dict[str, str], database: Database
) -> None:
    async with whole_stack(variables, database) as stack:
        assert (await stack.api(SCORE, a=ATTENDEE))["score"]["isMock"] is True
        run = (await asked(stack.api))["train"]["run"]["id"]
        done = await stack.until(run, {"SUCCEEDED", "FAILED"})
        assert done["status"] == "SUCCEEDED", done
        assert done["promoted"] is True
        assert done["version"]["version"] == "v1"
        assert done["version"]["aliases"] == ["CHAMPION"]
        assert done["metrics"]["rocAuc"] > 0.8
        await stack.until_it_serves()
        answer = (await stack.api(SCORE, a=ATTENDEE))["score"]
        assert answer == {"modelVersion": "v1", "isMock": False, "riskLabel": "ATTENDEE"}


@pytest.mark.slow
async def test_a_run_whose_worker_is_killed_finishes_once_a_worker_is_back(
    variables: dict[str, str], database: Database
) -> None:
    async with whole_stack(variables, database) as stack:
        run = (await asked(stack.api))["train"]["run"]["id"]
        await stack.until(run, {"RUNNING"})
        await stack.kill_worker()
        assert (await stack.status(run))["status"] == "RUNNING"
        stack.start_worker()
        done = await stack.until(run, {"SUCCEEDED", "FAILED"})
        assert (done["status"], done["version"]["version"]) == ("SUCCEEDED", "v1")


@pytest.mark.slow
async def test_a_run_survives_a_redis_that_forgets_everything(
    variables: dict[str, str], database: Database, tmp_path: Path
) -> None:
    async with (
        OwnRedis(tmp_path / "redis") as redis,
        whole_stack({**variables, "REDIS_URL": redis.url}, database) as stack,
    ):
        await stack.kill_worker()
        run = (await asked(stack.api))["train"]["run"]["id"]
        await until_sent(database)
        await redis.restart_empty()
        stack.start_worker()
        done = await stack.until(run, {"SUCCEEDED", "FAILED"})
        assert done["status"] == "SUCCEEDED"
