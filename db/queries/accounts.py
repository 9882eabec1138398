"""Reads over people: column queries that return plain rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, or_, select

from db.models import Profile, User
from db.models.accounts import LOCAL_ISSUER
from db.session import Reader


@dataclass(frozen=True, slots=True)
class UserRow:
    id: UUID
    issuer: str
    role: str
    email: str | None
    username: str | None
    created_at: datetime
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class ProfileRow:
    user_id: UUID
    latitude: float | None
    longitude: float | None
    time_zone: str
    updated_at: datetime


def _users() -> Select[UUID, str, str, str | None, str | None, datetime, str | None]:
    return select(
        User.id,
        User.issuer,
        User.role,
        User.email,
        User.username,
        User.created_at,
        User.password_hash,
    )


async def user_by_id(reader: Reader, user_id: UUID) -> UserRow | None:
    row = (await reader.execute(_users().where(User.id == user_id))).one_or_none()
    return UserRow(*row) if row else None


async def users_by_id(reader: Reader, user_ids: Sequence[UUID]) -> dict[UUID, UserRow]:
    rows = await reader.execute(_users().where(User.id.in_(user_ids)))
    return {row.id: UserRow(*row) for row in rows}


async def local_user_by_login(reader: Reader, name: str) -> UserRow | None:
    """By user name or e-mail address, whatever the case; only accounts with a password here.

    A name holds no '@' and an address always does, so the two can't be confused.
    """
    matches = or_(func.lower(User.username) == name.lower(), func.lower(User.email) == name.lower())
    statement = _users().where(User.issuer == LOCAL_ISSUER, matches)
    row = (await reader.execute(statement)).one_or_none()
    return UserRow(*row) if row else None


async def profiles_by_user(reader: Reader, user_ids: Sequence[UUID]) -> dict[UUID, ProfileRow]:
    rows = await reader.execute(
        select(
            Profile.user_id,
            func.ST_Y(func.geometry(Profile.geom)),
            func.ST_X(func.geometry(Profile.geom)),
            Profile.time_zone,
            Profile.updated_at,
        ).where(Profile.user_id.in_(user_ids))
    )
    return {row.user_id: ProfileRow(*row) for row in rows}
