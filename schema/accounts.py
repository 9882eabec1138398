"""People: users and their profiles."""

from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

import strawberry

from db.models.accounts import Role
from db.queries import accounts as queries
from db.transactions.accounts import is_frequent, is_new
from schema.edge.context import Info
from schema.edge.fields import link
from schema.edge.ids import global_id
from schema.edge.loaders import load
from schema.edge.nodes import Node
from schema.edge.user_errors import MutationPayload
from schema.edge.viewers import Viewer


@strawberry.enum(description="How a person has behaved so far; promos choose among these.")
class Segment(StrEnum):
    NEW = "NEW"
    FREQUENT = "FREQUENT"


@strawberry.type(description="A point on the globe (WGS 84).")
class GeoPoint:
    latitude: float = strawberry.field(description="Degrees north, -90 to 90.")
    longitude: float = strawberry.field(description="Degrees east, -180 to 180.")


@strawberry.input(description="A point on the globe (WGS 84).")
class GeoPointInput:
    latitude: float = strawberry.field(description="Degrees north, -90 to 90.")
    longitude: float = strawberry.field(description="Degrees east, -180 to 180.")


@strawberry.type(
    description="isNewUser and isFrequent are derived from confirmed purchases and account age "
    "unless an ADMIN overrides them."
)
class Profile:
    location: GeoPoint | None = strawberry.field(
        description="Where the person is; promos near by are offered from here."
    )
    is_new_user: bool = strawberry.field(
        description="Account of at most 30 days, or no confirmed purchase yet."
    )
    is_frequent: bool = strawberry.field(description="3 or more confirmed purchases in 90 days.")
    segments: list[Segment] = strawberry.field(description="The same two as a list.")
    time_zone: str = strawberry.field(description="IANA zone that rules the person's days.")
    updated_at: datetime = strawberry.field(description="Last change.")

    @classmethod
    def of(cls, row: queries.ProfileRow, now: datetime) -> Self:
        # Purchases come with the promos; until there are any, nobody has made one.
        new = is_new(row.is_new_user, row.joined_at, purchases=0, now=now)
        frequent = is_frequent(row.is_frequent, purchases_in_90_days=0)
        flags = {Segment.NEW: new, Segment.FREQUENT: frequent}
        location = None
        if row.latitude is not None and row.longitude is not None:
            location = GeoPoint(latitude=row.latitude, longitude=row.longitude)
        return cls(
            location=location,
            is_new_user=new,
            is_frequent=frequent,
            segments=[segment for segment, holds in flags.items() if holds],
            time_zone=row.time_zone,
            updated_at=row.updated_at,
        )


@strawberry.type(description="A person with an account.")
class User(Node):
    uuid: UUID = strawberry.field(description="The 'sub' of the person's tokens.")
    email: str | None = strawberry.field(description="Null if an outside provider keeps it.")
    username: str | None = strawberry.field(description="Null for accounts of outside providers.")
    role: Role = strawberry.field(description="What the person may do.")
    created_at: datetime = strawberry.field(description="When the account was first seen.")

    @classmethod
    def of(cls, row: queries.UserRow | Viewer) -> Self:
        return cls(
            id=strawberry.ID(global_id("User", row.id)),
            uuid=row.id,
            email=row.email,
            username=row.username,
            role=Role(row.role),
            created_at=row.created_at,
        )

    @link(description="Place, time zone and segments.")
    async def profile(self, info: Info) -> Profile:
        row = await load(info.context, queries.profiles_by_user, self.uuid)
        if row is None:
            raise LookupError(f"user {self.uuid} has no profile")
        return Profile.of(row, info.context.now)


@strawberry.input(description="A new account.")
class RegisterInput:
    username: str = strawberry.field(description="3 to 40 characters without '@'.")
    email: str = strawberry.field(description="An e-mail address.")
    password: str = strawberry.field(description="At least 8 characters (6 in development).")


@strawberry.input(description="Credentials.")
class LoginInput:
    username: str = strawberry.field(description="The user name, or the e-mail address.")
    password: str = strawberry.field(description="The password.")


@strawberry.input(description="Omitted: unchanged.")
class ProfileInput:
    location: GeoPointInput | None = strawberry.field(
        default=strawberry.UNSET, description="Null removes the location."
    )
    time_zone: str | None = strawberry.field(
        default=strawberry.UNSET, description="IANA zone, such as America/Bogota."
    )
    username: str | None = strawberry.field(
        default=strawberry.UNSET, description="3 to 40 characters without '@'."
    )


@strawberry.input(description="Omitted: unchanged. Null goes back to the derived flag.")
class UserInput:
    role: Role | None = strawberry.field(
        default=strawberry.UNSET, description="What the person may do from now on."
    )
    is_new_user: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Overrides the derived flag."
    )
    is_frequent: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Overrides the derived flag."
    )


@strawberry.type(description="A token, and whom it belongs to.")
class AuthPayload(MutationPayload):
    access_token: str | None = strawberry.field(
        default=None, description="Send it as 'Authorization: Bearer <token>'."
    )
    token_type: str | None = strawberry.field(default=None, description="'bearer'.")
    expires_in: int | None = strawberry.field(
        default=None, description="Seconds that the token is good for."
    )
    user: User | None = strawberry.field(default=None, description="The account.")


@strawberry.type(description="The profile after the change.")
class UpdateProfilePayload(MutationPayload):
    profile: Profile | None = strawberry.field(default=None, description="The profile.")


@strawberry.type(description="The user after the change.")
class UpdateUserPayload(MutationPayload):
    user: User | None = strawberry.field(default=None, description="The user.")
