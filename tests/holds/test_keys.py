"""Idempotency keys are kept for a day."""

from datetime import timedelta

from sqlalchemy import text

from db.idempotency import claim
from db.session import Database
from db.transactions.idempotency import delete_old_keys
from tests.factories import make_user, right_now


async def test_keys_of_yesterday_are_forgotten_and_younger_ones_kept(database: Database) -> None:
    user = await make_user(database)
    now = right_now()
    for key, age in (("old", timedelta(hours=24, minutes=1)), ("young", timedelta(hours=23))):
        async with database.transaction() as session:
            await claim(
                session,
                user_id=user.id,
                operation="test",
                key=key,
                request={},
                ref="1",
                now=now - age,
            )
    async with database.transaction() as session:
        assert await delete_old_keys(session, now, 10) == 1
    async with database.read() as reader:
        left = (await reader.execute(text("SELECT key FROM idempotency_keys"))).scalars()
        assert list(left) == ["young"]
