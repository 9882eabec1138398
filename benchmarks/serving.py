"""A real server under load: a fast read, a score, and whether batches of scores delay others."""

import asyncio
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import Any
from uuid import uuid4

import httpx

from auth.tokens import LocalTokens
from db.models.accounts import Role
from db.session import Database, create_engine
from tests.databases import ROOT, admin_url, drop, make_template, named, redis_url
from tests.factories import ATTENDEE, make_user
from tests.servers import SECRET, process_environment, running_server

SECONDS = 3.0
CLIENTS = 4
BATCH = 500
HEALTH = {"query": "{ health { status } }"}
MODELS = {"query": "{ models { nodes { key name pricePerPrediction } } }"}
SCORE = {
    "query": "query s($a: AttendeeInput!) { score(input: $a) { attendanceProbability } }",
    "variables": {"a": ATTENDEE},
}
SCORES = {
    "query": "query s($a: [AttendeeInput!]!) { scores(inputs: $a) { attendanceProbability } }",
    "variables": {"a": [ATTENDEE] * BATCH},
}
NO_LIMITS = {"RATE_LIMITS": "false", "LOG_LEVEL": "ERROR"}
"""What is measured is the work, not the refusal of it."""


async def load(url: str, body: dict[str, Any], clients: int, token: str = "") -> list[float]:
    """Latencies in ms of requests that so many clients send back to back for SECONDS."""
    took: list[float] = []
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def client(http: httpx.AsyncClient) -> None:
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            started = time.perf_counter()
            response = await http.post(f"{url}/graphql", json=body, headers=headers)
            took.append((time.perf_counter() - started) * 1e3)
            if "errors" in (answer := response.json()):
                raise RuntimeError(answer["errors"][0]["message"])

    async with httpx.AsyncClient(timeout=30) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    return took


def show(name: str, took: list[float]) -> None:
    p99 = quantiles(took, n=100)[98]
    rate = len(took) / SECONDS
    print(f"{name:<42}{rate:8.0f}/s  median {median(took):7.2f} ms  p99 {p99:7.2f} ms", flush=True)


async def measure(url: str, token: str) -> None:
    await load(url, SCORE, 1)  # warms the caches of the process
    show(f"models, {CLIENTS} clients", await load(url, MODELS, CLIENTS))
    show(f"one score, {CLIENTS} clients", await load(url, SCORE, CLIENTS))
    alone = await load(url, HEALTH, 1)
    beside, batches = await asyncio.gather(load(url, HEALTH, 1), load(url, SCORES, 1, token))
    show("health, nothing else", alone)
    show(f"health, beside batches of {BATCH} scores", beside)
    show(f"those batches of {BATCH} scores", batches)
    print(f"the batches make health {median(beside) / median(alone):.1f} times slower (median)")


async def main() -> None:
    name = f"bench_{uuid4().hex[:12]}"
    await make_template(name)
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "DATABASE_URL": named(admin_url(), name),
            "REDIS_URL": redis_url(15),
            "MODEL_DIR": folder,
            **NO_LIMITS,
        }
        train = [sys.executable, "-m", "cli", "train", "attendance"]
        await asyncio.to_thread(
            subprocess.run,
            train,
            check=True,
            cwd=ROOT,
            env=process_environment(variables),
            stdout=subprocess.DEVNULL,
        )
        database = Database(create_engine(variables["DATABASE_URL"]))
        merchant = await make_user(database, role=Role.MERCHANT)
        token, _ = LocalTokens(SECRET, timedelta(hours=1)).issue(merchant.id, datetime.now(UTC))
        await database.close()
        async with running_server(variables) as url:
            await measure(url, token)
    await drop(name)


if __name__ == "__main__":
    asyncio.run(main())
