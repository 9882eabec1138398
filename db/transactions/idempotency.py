"""Keeping idempotency keys no longer than they are of use."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import IdempotencyKey

KEPT = timedelta(hours=24)


async def delete_old_keys(session: AsyncSession, now: datetime, limit: int) -> int:
    """Deletes up to `limit` keys that are older than a day; how many."""
    key = (IdempotencyKey.user_id, IdempotencyKey.operation, IdempotencyKey.key)
    old = select(*key).where(IdempotencyKey.created_at < now - KEPT).limit(limit)
    deleted = await session.execute(
        delete(IdempotencyKey).where(tuple_(*key).in_(old)).returning(IdempotencyKey.key)
    )
    return len(deleted.all())
