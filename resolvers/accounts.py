"""Who am I, who are you: registering, logging in, profiles."""

from typing import Annotated, Any, TypeVar

import strawberry

from auth.errors import FeatureDisabled
from db.errors import BadCredentials
from db.models.accounts import Role
from db.queries import accounts as queries
from db.transactions import accounts as transactions
from schema.accounts import (
    AuthPayload,
    LoginInput,
    Profile,
    ProfileInput,
    RegisterInput,
    UpdateProfilePayload,
    UpdateUserPayload,
    User,
    UserInput,
)
from schema.edge.arguments import Id, described
from schema.edge.context import Context, Info
from schema.edge.fields import PUBLIC, Rate, mutation, query
from schema.edge.ids import uuid_key
from schema.edge.nodes import fetched_by

T = TypeVar("T")

TOKEN_TYPE = "bearer"  # noqa: S105 - the name of a kind


def given(value: T | None) -> T | None:
    """None for an argument that was left out."""
    return None if value is strawberry.UNSET else value


def _require_local_accounts(context: Context) -> None:
    if not context.policy.local_accounts:
        raise FeatureDisabled("Accounts are kept by the outside provider (AUTH_MODE=supabase).")


def _signed_in(context: Context, row: queries.UserRow) -> AuthPayload:
    token, expires_in = context.services.tokens.issue(row.id, context.now)
    return AuthPayload(
        access_token=token,
        token_type=TOKEN_TYPE,
        expires_in=expires_in,
        user=User.of(row, own=True),  # the request that signs in has no token yet
    )


async def log_in(context: Context, name: str, password: str) -> queries.UserRow:
    """Raises BadCredentials; an unknown name costs as much time as a wrong password."""
    passwords = context.services.passwords
    async with context.database.read() as reader:
        row = await queries.local_user_by_login(reader, name.strip())
    right = await passwords.verify(row.password_hash if row else None, password)
    if row is None or row.password_hash is None or not right:
        raise BadCredentials
    if passwords.needs_rehash(row.password_hash):
        fresh = await passwords.hash(password)
        async with context.database.transaction() as session:
            await transactions.set_password_hash(session, row.id, fresh)
    return row


@strawberry.type
class AccountQuery:
    @query(
        access=Role.USER,
        description="Who is asking. Replaces GET /auth/me and GET /users/me; makes the local row "
        "for a subject of an outside provider at first sight.",
    )
    async def me(self, info: Info) -> User:
        return User.of(await info.context.required_viewer())


@strawberry.type
class AccountMutation:
    @mutation(
        access=PUBLIC,
        rate=Rate(10, 3_600, by_address=True),
        description="Makes an account and signs in. Problems: TAKEN, TOO_SHORT, REQUIRED, INVALID.",
    )
    async def register(
        self, info: Info, input: Annotated[RegisterInput, described("The new account.")]
    ) -> AuthPayload:
        context = info.context
        _require_local_accounts(context)
        wanted = transactions.registration(
            input.username, input.email, input.password, context.policy.least_password_length
        )
        password_hash = await context.services.passwords.hash(wanted.password)
        async with context.database.transaction() as session:
            row = await transactions.register_user(
                session,
                wanted,
                password_hash=password_hash,
                time_zone=context.policy.time_zone,
                now=context.now,
            )
        return _signed_in(context, row)

    @mutation(
        access=PUBLIC,
        rate=Rate(10, 300, by_address=True),
        description="Signs in by user name or e-mail address. BAD_CREDENTIALS has one text for "
        "an unknown name and a wrong password.",
    )
    async def login(
        self, info: Info, input: Annotated[LoginInput, described("The credentials.")]
    ) -> AuthPayload:
        _require_local_accounts(info.context)
        return _signed_in(info.context, await log_in(info.context, input.username, input.password))

    @mutation(
        access=Role.USER,
        description="Changes the caller's own place, time zone or user name.",
    )
    async def update_profile(
        self, info: Info, input: Annotated[ProfileInput, described("What to change.")]
    ) -> UpdateProfilePayload:
        viewer = await info.context.required_viewer()
        place = input.location or None
        async with info.context.database.transaction() as session:
            row = await transactions.update_profile(
                session,
                viewer.id,
                now=info.context.now,
                location=(place.latitude, place.longitude) if place else None,
                clear_location=input.location is None,
                time_zone=given(input.time_zone),
                username=given(input.username),
            )
        return UpdateProfilePayload(profile=Profile.of(row))

    @mutation(access=Role.ADMIN, description="Changes a person's role or overrides the flags.")
    async def update_user(
        self, info: Info, id: Id, input: Annotated[UserInput, described("What to change.")]
    ) -> UpdateUserPayload:
        given: dict[str, Any] = {
            name: getattr(input, name)
            for name in ("is_new_user", "is_frequent")
            if getattr(input, name) is not strawberry.UNSET
        }
        async with info.context.database.transaction() as session:
            row = await transactions.update_user(
                session, uuid_key(id, "User"), role=input.role or None, overrides=given
            )
        return UpdateUserPayload(user=User.of(row))


@fetched_by("User")
async def fetch_user(context: Context, key: str) -> User | None:
    """Only oneself, unless the caller is ADMIN: others do not exist for the caller."""
    viewer = await context.required_viewer()
    user_id = uuid_key(key, "User")
    if viewer.id != user_id and viewer.role is not Role.ADMIN:
        return None
    async with context.database.read() as reader:
        row = await queries.user_by_id(reader, user_id)
    return User.of(row) if row else None
