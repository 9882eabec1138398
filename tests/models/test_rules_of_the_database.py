"""What must never be, whatever the code does: the database refuses it by itself."""

from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from db.errors import TrainingInProgress
from db.models.models import AliasName
from db.session import Database
from db.transactions.models import register_version, request_training, set_alias, store_metrics
from tests.factories import METRICS, make_model, make_version, nowhere, promote, right_now


async def execute(database: Database, statement: str, **values: object) -> None:
    async with database.transaction() as session:
        await session.execute(text(statement), values)


async def test_a_second_champion_is_impossible(database: Database) -> None:
    model = await make_model(database, "one")
    first, second = [await make_version(database, model) for _ in range(2)]
    await promote(database, model, first)
    with pytest.raises(IntegrityError):
        await execute(
            database,
            "INSERT INTO model_aliases (model_id, alias, version_id) VALUES (:m, 'CHAMPION', :v)",
            m=model,
            v=second,
        )


async def test_an_alias_of_another_models_version_is_impossible(database: Database) -> None:
    model = await make_model(database, "one")
    foreign = await make_version(database, await make_model(database, "other"))
    with pytest.raises(IntegrityError):
        await execute(
            database,
            "INSERT INTO model_aliases (model_id, alias, version_id) VALUES (:m, 'SHADOW', :v)",
            m=model,
            v=foreign,
        )


@pytest.mark.parametrize(
    "statement", ["UPDATE model_alias_events SET reason = 'x'", "DELETE FROM model_alias_events"]
)
async def test_the_history_of_aliases_is_permanent(database: Database, statement: str) -> None:
    model = await make_model(database, "one")
    await promote(database, model, await make_version(database, model))
    with pytest.raises(DBAPIError, match="permanent"):
        await execute(database, statement)


async def test_moving_an_alias_to_where_it_is_writes_no_history(database: Database) -> None:
    model = await make_model(database, "one")
    version = await make_version(database, model)
    await promote(database, model, version)
    await promote(database, model, version)
    async with database.read() as reader:
        events = await reader.execute(text("SELECT count(*) FROM model_alias_events"))
        assert events.scalar_one() == 1


async def test_one_open_training_run_a_model(database: Database) -> None:
    await make_model(database, "one")
    async with database.transaction() as session:
        await request_training(session, "one", promote=True, now=right_now())
    with pytest.raises(TrainingInProgress):
        async with database.transaction() as session:
            await request_training(session, "one", promote=True, now=right_now())
    async with database.read() as reader:
        jobs = await reader.execute(text("SELECT count(*) FROM jobs"))
        assert jobs.scalar_one() == 1


async def test_a_run_its_job_and_its_message_are_written_together_or_not_at_all(
    database: Database,
) -> None:
    await make_model(database, "one")
    with suppress(ZeroDivisionError):
        async with database.transaction() as session:
            await request_training(session, "one", promote=True, now=right_now())
            _ = 1 / 0
    async with database.read() as reader:
        for table in ("training_runs", "jobs", "outbox"):
            rows = await reader.execute(text(f"SELECT count(*) FROM {table}"))
            assert rows.scalar_one() == 0


async def test_versions_are_numbered_in_order(database: Database) -> None:
    model = await make_model(database, "one")
    for _ in range(3):
        await make_version(database, model)
    async with database.read() as reader:
        rows = await reader.execute(text("SELECT version FROM model_versions ORDER BY id"))
        assert list(rows.scalars()) == ["v1", "v2", "v3"]


async def test_a_training_does_not_replace_a_champion_it_was_not_measured_against(
    database: Database,
) -> None:
    model = await make_model(database, "one")
    measured_against = await make_version(database, model)
    await promote(database, model, measured_against)
    newer = await make_version(database, model)
    await promote(database, model, newer)
    async with database.transaction() as session:
        late = await register_version(
            session,
            model,
            nowhere(),
            promote=True,
            better_than=measured_against,
            reason="late",
            now=right_now(),
        )
    assert late.promoted is False
    async with database.read() as reader:
        champion = await reader.execute(text("SELECT version_id FROM model_aliases"))
        assert champion.scalar_one() == newer


async def test_metrics_have_one_row_a_version_scope_and_day(database: Database) -> None:
    model = await make_model(database, "one")
    version = await make_version(database, model)
    better = {**METRICS, "accuracy": 0.95}
    for day, metrics in ((0, better), (0, METRICS), (1, better)):
        async with database.transaction() as session:
            now = right_now() + timedelta(days=day)
            await store_metrics(session, version, "holdout", metrics, now)
    async with database.read() as reader:
        rows = await reader.execute(text("SELECT accuracy FROM model_metrics ORDER BY date"))
        assert list(rows.scalars()) == [0.9, 0.95]


async def test_a_shadow_can_be_cleared(database: Database) -> None:
    model = await make_model(database, "one")
    version = await make_version(database, model)
    for target in (version, None):
        async with database.transaction() as session:
            await set_alias(
                session, model, AliasName.SHADOW, target, by=None, reason=None, now=right_now()
            )
    async with database.read() as reader:
        rows = await reader.execute(text("SELECT count(*) FROM model_aliases"))
        assert rows.scalar_one() == 0
