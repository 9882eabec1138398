"""How long a server may be silent or wait, and what clients hear of it."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from commands import jobs
from db.models.accounts import Role
from db.session import Database, create_engine, is_outage
from schema.edge.services import Services
from settings import Settings
from tests.clients import SignIn
from tests.market import make_promo, make_stock
from tests.promos.offers import CREATE, count_promos, offer, stored


@pytest.mark.parametrize("state", ["57P01", "57P02", "57P03", "53300", "55P03", "25P03"])
async def test_a_database_that_can_not_answer_for_now_is_service_unavailable(
    sign_in: SignIn, services: Services, state: str
) -> None:
    merchant, owner = await sign_in(Role.MERCHANT)
    stock = await make_stock(services.database, owner_id=owner.id)
    async with services.database.transaction() as session:
        await session.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ "
                f"BEGIN RAISE EXCEPTION 'for now' USING ERRCODE = '{state}'; END $$"
            )
        )
        await session.execute(
            text(
                "CREATE TRIGGER fail BEFORE INSERT ON flash_promos "
                "FOR EACH ROW EXECUTE FUNCTION fail()"
            )
        )
    answer = await merchant(CREATE, input=offer(stock))
    assert answer.code == "SERVICE_UNAVAILABLE"
    assert await count_promos(services.database) == 0


async def test_whoever_goes_silent_in_a_transaction_loses_its_locks(
    database: Database, database_url: str
) -> None:
    promo = await make_promo(database)
    raised = text("UPDATE flash_promos SET radius_m = radius_m + 1 WHERE id = :id")
    silent = Database(create_engine(database_url, idle_seconds=0.3))
    try:
        async with silent.engine.connect() as connection:
            await connection.execute(raised, {"id": promo})
            async with asyncio.timeout(60), database.transaction() as session:
                await session.execute(raised, {"id": promo})
            with pytest.raises(DBAPIError) as lost:
                await connection.execute(raised, {"id": promo})
        assert is_outage(lost.value)
    finally:
        await silent.close()
    assert (await stored(database, promo)).radius_m == 2001


async def test_whoever_waits_too_long_for_a_lock_is_told_to_come_again(
    database: Database, database_url: str
) -> None:
    promo = await make_promo(database)
    raised = text("UPDATE flash_promos SET radius_m = radius_m + 1 WHERE id = :id")
    hasty = Database(create_engine(database_url, lock_seconds=0.3))
    try:
        async with database.transaction() as session:
            await session.execute(raised, {"id": promo})
            with pytest.raises(DBAPIError) as refused:
                async with asyncio.timeout(60), hasty.transaction() as other:
                    await other.execute(raised, {"id": promo})
        assert is_outage(refused.value)
    finally:
        await hasty.close()
    assert (await stored(database, promo)).radius_m == 2001


async def limits_of(database: Database) -> tuple[Any, ...]:
    async with database.read() as reader:
        shown = await reader.execute(
            text(
                "SELECT current_setting('idle_in_transaction_session_timeout'), "
                "current_setting('lock_timeout')"
            )
        )
        return tuple(shown.one())


async def test_the_server_bounds_its_silence_and_its_waits(services: Services) -> None:
    assert await limits_of(services.database) == ("5s", "3s")


async def test_the_worker_bounds_its_silence_but_waits_for_locks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "settings_with_logs", lambda: settings)
    async with jobs.job_setup().open_resources() as resources:
        assert await limits_of(resources.database) == ("1min", "0")
