"""The demo data, and what a newcomer sees of it (F50, F51)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db.session import Database
from tests.servers import end, run_auspex, start_auspex

pytestmark = pytest.mark.slow

COUNTS = """SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM stores) AS stores,
  (SELECT count(*) FROM products) AS products, (SELECT count(*) FROM store_products) AS stock,
  (SELECT count(*) FROM flash_promos) AS promos"""
NOTICES = """SELECT users.username, products.name FROM notifications
  JOIN users ON users.id = user_id JOIN flash_promos promo ON promo.id = promo_id
  JOIN store_products stock ON stock.id = promo.store_product_id
  JOIN products ON products.id = stock.product_id WHERE kind = 'PROMO'"""


@pytest.fixture
def variables(database_url: str, redis_address: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_address,
        "MODEL_DIR": str(tmp_path / "models"),
    }


async def read(database: Database, statement: str) -> list[Any]:
    async with database.read() as reader:
        return [tuple(row) for row in await reader.execute(text(statement))]


async def test_loading_the_demo_again_adds_nothing(
    variables: dict[str, str], database: Database
) -> None:
    assert run_auspex("init-db", **variables).returncode == 0
    first = await read(database, COUNTS)
    again = run_auspex("init-db", **variables)
    assert "0 demo promos made" in again.stdout
    assert await read(database, COUNTS) == first == [(3, 3, 3, 3, 3)]


async def test_promos_of_the_past_are_followed_by_new_ones(
    variables: dict[str, str], database: Database
) -> None:
    run_auspex("init-db", **variables)
    async with database.transaction() as session:
        await session.execute(
            text(
                "UPDATE flash_promos SET starts_at = now() - interval '3 days',"
                " ends_at = now() - interval '2 days', status = 'ENDED'"
            )
        )
    assert "3 demo promos made" in run_auspex("init-db", **variables).stdout
    assert await read(database, COUNTS) == [(3, 3, 3, 3, 6)]


@pytest.fixture
def helpers(variables: dict[str, str]) -> Iterator[None]:
    """The scheduler and a worker, as in a running system."""
    processes = [
        start_auspex(name, variables={**variables, "WORKER_PROCESSES": "1"})
        for name in ("scheduler", "worker")
    ]
    yield
    for process in processes:
        asyncio.run(end(process))


async def test_the_demo_promo_goes_live_and_its_user_is_told(
    variables: dict[str, str], database: Database, helpers: None
) -> None:
    run_auspex("init-db", **variables)
    async with asyncio.timeout(120):
        while len(await read(database, NOTICES)) < 2:  # noqa: ASYNC110 - other processes write
            await asyncio.sleep(0.2)
    assert sorted(await read(database, NOTICES)) == [
        ("demo", "Coffee of the day, 250 g"),
        ("demo", "Ticket for tonight"),
    ]
    assert set(await read(database, "SELECT status FROM flash_promos")) == {("ACTIVE",)}
