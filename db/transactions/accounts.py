"""What people may do with their accounts. Every function takes an open session and plain values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import available_timezones

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from db.errors import InputProblem, InputRejected, Path
from db.models import Profile, User
from db.models.accounts import LOCAL_ISSUER, Role
from db.queries.accounts import ProfileRow, UserRow, profiles_by_user, user_by_id

NAME_LENGTH = (3, 40)
LONGEST_PASSWORD_BYTES = 1_024


@dataclass(frozen=True)
class Registration:
    """What was asked for, checked by `registration` below."""

    username: str
    email: str
    password: str


def registration(
    username: str, email: str, password: str, least_password_length: int
) -> Registration:
    """Raises InputRejected with everything that is wrong, each problem at its field."""
    name, problems = username.strip(), []
    problems += _name_problems(name, ("input", "username"))
    try:
        address = validate_email(email, check_deliverability=False).normalized
    except EmailNotValidError:
        address = email
        problems.append(
            InputProblem("INVALID", ("input", "email"), "email must be an e-mail address")
        )
    problems += _password_problems(password, least_password_length)
    if problems:
        raise InputRejected(problems)
    return Registration(name, address, password)


def _name_problems(name: str, field: Path) -> list[InputProblem]:
    least, most = NAME_LENGTH
    if not name:
        return [InputProblem("REQUIRED", field, "username is required")]
    if len(name) < least:
        return [InputProblem("TOO_SHORT", field, f"username needs at least {least} characters")]
    if len(name) > most:
        return [InputProblem("INVALID", field, f"username may have {most} characters at most")]
    if "@" in name or not name.isprintable():
        return [
            InputProblem("INVALID", field, "username may not contain '@' or control characters")
        ]
    return []


def _password_problems(password: str, least: int) -> list[InputProblem]:
    field = ("input", "password")
    if len(password) < least:
        return [InputProblem("TOO_SHORT", field, f"password needs at least {least} characters")]
    if len(password.encode()) > LONGEST_PASSWORD_BYTES:
        message = f"password may have {LONGEST_PASSWORD_BYTES} bytes at most"
        return [InputProblem("INVALID", field, message)]
    return []


async def register_user(
    session: AsyncSession,
    wanted: Registration,
    *,
    password_hash: str,
    time_zone: str,
    now: datetime,
    role: Role = Role.USER,
) -> UserRow:
    """Raises InputRejected (TAKEN) at the field whose value another account has."""
    user_id = uuid4()
    made = await session.execute(
        insert(User)
        .values(
            id=user_id,
            username=wanted.username,
            email=wanted.email,
            password_hash=password_hash,
            role=role,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(User.id)
    )
    if made.one_or_none() is None:
        raise InputRejected(await _taken(session, wanted))
    await _add_profile(session, user_id, time_zone, now)
    return await _present_user(session, user_id)


async def _taken(session: AsyncSession, wanted: Registration) -> list[InputProblem]:
    same_name = await session.scalar(
        select(func.count()).where(func.lower(User.username) == wanted.username.lower())
    )
    if same_name:
        return [InputProblem("TAKEN", ("input", "username"), "username is taken")]
    return [InputProblem("TAKEN", ("input", "email"), "email has an account already")]


async def meet_outside_user(
    session: AsyncSession,
    *,
    user_id: UUID,
    issuer: str,
    email: str | None,
    time_zone: str,
    now: datetime,
) -> UserRow | None:
    """The row of a provider's `sub`, made at first sight; its address follows the provider's.

    An id that another issuer vouches for is returned as it is: the caller compares the issuer.
    """
    made = await session.execute(
        insert(User)
        .values(id=user_id, issuer=issuer, email=email, created_at=now)
        .on_conflict_do_nothing(index_elements=[User.id])
        .returning(User.id)
    )
    if made.one_or_none() is not None:
        await _add_profile(session, user_id, time_zone, now)
    elif email is not None:
        await session.execute(
            update(User).where(User.id == user_id, User.issuer == issuer).values(email=email)
        )
    return await user_by_id(session, user_id)


async def update_profile(
    session: AsyncSession,
    user_id: UUID,
    *,
    now: datetime,
    location: tuple[float, float] | None = None,
    time_zone: str | None = None,
    username: str | None = None,
    clear_location: bool = False,
) -> ProfileRow:
    """Changes what is given. `location` is (latitude, longitude) in degrees.

    Raises InputRejected; then nothing was changed.
    """
    problems = [*_place_problems(location, time_zone)]
    name = username.strip() if username is not None else None
    if name is not None:
        problems += _name_problems(name, ("input", "username"))
    if problems:
        raise InputRejected(problems)
    if name is not None:
        await _rename(session, user_id, name)
    values: dict[str, Any] = {"updated_at": now}
    if location is not None:
        values["geom"] = f"SRID=4326;POINT({location[1]!r} {location[0]!r})"
    elif clear_location:
        values["geom"] = None
    if time_zone is not None:
        values["time_zone"] = time_zone
    await session.execute(update(Profile).where(Profile.user_id == user_id).values(**values))
    return (await profiles_by_user(session, [user_id]))[user_id]


def _place_problems(
    location: tuple[float, float] | None, time_zone: str | None
) -> list[InputProblem]:
    problems = []
    for value, name, limit in zip(
        location or (), ("latitude", "longitude"), (90, 180), strict=False
    ):
        if not -limit <= value <= limit:
            message = f"{name} must be between -{limit} and {limit}, got {value}"
            problems.append(InputProblem("OUT_OF_RANGE", ("input", "location", name), message))
    if time_zone is not None and time_zone not in available_timezones():
        message = "timeZone must be an IANA time zone such as America/Bogota"
        problems.append(InputProblem("INVALID", ("input", "timeZone"), message))
    return problems


async def _rename(session: AsyncSession, user_id: UUID, name: str) -> None:
    try:
        await session.execute(update(User).where(User.id == user_id).values(username=name))
    except IntegrityError as error:
        # The unique index decides: a look before the write would lose a race.
        raise InputRejected.one("TAKEN", ("input", "username"), "username is taken") from error


async def update_user(
    session: AsyncSession, user_id: UUID, *, role: Role | None, overrides: dict[str, bool | None]
) -> UserRow:
    """`overrides` may hold is_new_user and is_frequent; None goes back to the derived value.

    Raises InputRejected (NOT_FOUND).
    """
    if role is not None:
        await session.execute(update(User).where(User.id == user_id).values(role=role))
    if overrides:
        await session.execute(update(Profile).where(Profile.user_id == user_id).values(**overrides))
    return await _present_user(session, user_id)


async def _present_user(session: AsyncSession, user_id: UUID) -> UserRow:
    row = await user_by_id(session, user_id)
    if row is None:
        raise InputRejected.one("NOT_FOUND", ("id",), "There is no such user")
    return row


async def _add_profile(session: AsyncSession, user_id: UUID, time_zone: str, now: datetime) -> None:
    session.add(Profile(user_id=user_id, time_zone=time_zone, updated_at=now))
    await session.flush()


async def set_password_hash(session: AsyncSession, user_id: UUID, password_hash: str) -> None:
    await session.execute(
        update(User)
        .where(User.id == user_id, User.issuer == LOCAL_ISSUER)
        .values(password_hash=password_hash)
    )


async def ensure_account(
    session: AsyncSession,
    wanted: Registration,
    *,
    password_hash: str,
    role: Role,
    time_zone: str,
    now: datetime,
) -> UserRow:
    """The account with this address, made or given this role and password (operators' commands)."""
    known = await session.scalar(
        select(User.id).where(
            func.lower(User.email) == wanted.email.lower(), User.issuer == LOCAL_ISSUER
        )
    )
    if known is None:
        return await register_user(
            session,
            wanted,
            password_hash=password_hash,
            time_zone=time_zone,
            now=now,
            role=role,
        )
    await session.execute(
        update(User).where(User.id == known).values(role=role, password_hash=password_hash)
    )
    return await _present_user(session, known)
