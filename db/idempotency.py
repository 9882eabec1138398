"""Idempotency keys: a repeated request gets the first one's answer, whatever happened to it."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import InputRejected, Path
from db.models import IdempotencyKey

LONGEST_KEY = 255
KEY_FIELD: Path = ("input", "idempotencyKey")


def request_hash(request: Mapping[str, Any]) -> str:
    """The same for requests that ask the same; values as they were understood, not as sent."""
    encoded = orjson.dumps(dict(request), option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(encoded).hexdigest()


def check_key(key: str, field: Path = KEY_FIELD) -> None:
    """Raises InputRejected for a key that is empty or too long."""
    if not 1 <= len(key) <= LONGEST_KEY:
        message = f"idempotencyKey must have 1 to {LONGEST_KEY} characters"
        raise InputRejected.one("OUT_OF_RANGE", field, message)


def key_reused(field: Path = KEY_FIELD) -> InputRejected:
    message = "The idempotency key was used for a different request"
    return InputRejected.one("IDEMPOTENCY_KEY_REUSED", field, message)


async def claim(
    session: AsyncSession,
    *,
    user_id: UUID,
    operation: str,
    key: str | None,
    request: Mapping[str, Any],
    ref: str,
    now: datetime,
    field: Path = KEY_FIELD,
) -> str | None:
    """None if the work is still to be done; the first answer's `ref` if it was done before.

    Call it first in the transaction that does the work: a second request with the key waits here
    until that one has ended, and finds the row only if it was committed.

    Raises InputRejected (IDEMPOTENCY_KEY_REUSED) for a key of a request that asked something else.
    """
    if key is None:
        return None
    check_key(key, field)
    asked = request_hash(request)
    added = await session.execute(
        insert(IdempotencyKey)
        .values(
            user_id=user_id,
            operation=operation,
            key=key,
            request_hash=asked,
            response_ref=ref,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    )
    if added.one_or_none() is not None:
        return None
    first = (
        await session.execute(
            select(IdempotencyKey.request_hash, IdempotencyKey.response_ref).where(
                IdempotencyKey.user_id == user_id,
                IdempotencyKey.operation == operation,
                IdempotencyKey.key == key,
            )
        )
    ).one()
    if first.request_hash != asked:
        raise key_reused(field)
    return str(first.response_ref)
