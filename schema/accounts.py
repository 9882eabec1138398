"""People: users and their profiles."""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

import strawberry

from db.models.accounts import Role
from db.queries import accounts as queries
from db.queries.segments import SegmentsRow, segments_of_users
from db.session import Reader
from schema.edge.arguments import After, First, described
from schema.edge.connections import Connection
from schema.edge.context import Context, Info
from schema.edge.fields import link
from schema.edge.ids import global_id
from schema.edge.loaders import load
from schema.edge.nodes import Node
from schema.edge.user_errors import MutationPayload
from schema.edge.viewers import Viewer

if TYPE_CHECKING:
    from schema.holds import Reservation, ReservationStatus
    from schema.notifications import Notification, NotificationKind, NotificationPreferences
    from schema.waitlists import WaitlistEntry


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


async def is_self_or_admin(context: Context, user_id: UUID) -> bool:
    """Whether the caller may read what is nobody else's business of this person."""
    viewer = await context.known_viewer()
    return viewer is not None and (viewer.id == user_id or viewer.role is Role.ADMIN)


@strawberry.type(
    description="isNewUser and isFrequent are derived from confirmed purchases and account age "
    "unless an ADMIN overrides them."
)
class Profile:
    time_zone: str = strawberry.field(description="IANA zone that rules the person's days.")
    updated_at: datetime = strawberry.field(description="Last change.")

    user_id: strawberry.Private[UUID]
    row: strawberry.Private[queries.ProfileRow]
    own: strawberry.Private[bool]

    @classmethod
    def of(cls, row: queries.ProfileRow, *, own: bool = False) -> Self:
        """`own`: known to be the caller's, whatever the request's token says."""
        return cls(
            time_zone=row.time_zone,
            updated_at=row.updated_at,
            user_id=row.user_id,
            row=row,
            own=own,
        )

    @link(
        description="Where the person is; promos near by are offered from here. For the person "
        "and ADMIN, null for anybody else.",
        personal=True,
    )
    async def location(self, info: Info) -> GeoPoint | None:
        latitude, longitude = self.row.latitude, self.row.longitude
        if latitude is None or longitude is None:
            return None
        if not self.own and not await is_self_or_admin(info.context, self.user_id):
            return None
        return GeoPoint(latitude=latitude, longitude=longitude)

    @link(description="Account of at most 30 days, or no confirmed purchase yet.")
    async def is_new_user(self, info: Info) -> bool:
        return (await self._behaviour(info)).is_new

    @link(description="3 or more confirmed purchases in 90 days.")
    async def is_frequent(self, info: Info) -> bool:
        return (await self._behaviour(info)).is_frequent

    @link(description="The same two as a list.")
    async def segments(self, info: Info) -> list[Segment]:
        found = await self._behaviour(info)
        flags = {Segment.NEW: found.is_new, Segment.FREQUENT: found.is_frequent}
        return [segment for segment, holds in flags.items() if holds]

    async def _behaviour(self, info: Info) -> SegmentsRow:
        clock = info.context.services.clock
        found = await load(info.context, segments_by_user, self.user_id, clock=clock)
        if found is None:
            raise LookupError(f"user {self.user_id} is gone")
        return found


async def segments_by_user(
    reader: Reader, user_ids: Sequence[UUID], *, clock: Callable[[], datetime]
) -> dict[UUID, SegmentsRow]:
    """For `load`, which batches by equal arguments: a clock is equal to itself."""
    return await segments_of_users(reader, user_ids, now=clock())


@strawberry.type(description="A person with an account.")
class User(Node):
    uuid: UUID = strawberry.field(description="The 'sub' of the person's tokens.")
    username: str | None = strawberry.field(description="Null for accounts of outside providers.")
    role: Role = strawberry.field(description="What the person may do.")
    created_at: datetime = strawberry.field(description="When the account was first seen.")
    row: strawberry.Private[queries.UserRow | Viewer]
    own: strawberry.Private[bool]

    @classmethod
    def of(cls, row: queries.UserRow | Viewer, *, own: bool = False) -> Self:
        """`own`: known to be the caller, whatever the request's token says."""
        return cls(
            id=strawberry.ID(global_id("User", row.id)),
            uuid=row.id,
            username=row.username,
            role=Role(row.role),
            created_at=row.created_at,
            row=row,
            own=own,
        )

    @link(
        description="For the person and ADMIN, null for anybody else; null too if an outside "
        "provider keeps it.",
        personal=True,
    )
    async def email(self, info: Info) -> str | None:
        if not self.own and not await is_self_or_admin(info.context, self.uuid):
            return None
        return self.row.email

    @link(description="Place, time zone and segments.")
    async def profile(self, info: Info) -> Profile:
        row = await load(info.context, queries.profiles_by_user, self.uuid)
        if row is None:
            raise LookupError(f"user {self.uuid} has no profile")
        return Profile.of(row, own=self.own)

    @link(
        description="The inbox, newest first; for the person and ADMIN.",
        personal=True,
    )
    async def notifications(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        unread_only: Annotated[bool, described("Leave out what was read.")] = False,
        kinds: Annotated[
            list[Annotated["NotificationKind", strawberry.lazy("schema.notifications")]] | None,  # type: ignore[valid-type]
            described("Only these kinds; left out: all."),
        ] = None,
    ) -> Connection[Annotated["Notification", strawberry.lazy("schema.notifications")]]:
        from schema.notifications import inbox  # noqa: PLC0415 - notices lead to promos and holds

        return await inbox(
            info.context,
            self.uuid,
            first=first,
            after=after,
            unread_only=unread_only,
            kinds=kinds,
        )

    @link(
        description="What the person wants to be told of; for the person and ADMIN.", personal=True
    )
    async def notification_preferences(
        self, info: Info
    ) -> Annotated["NotificationPreferences", strawberry.lazy("schema.notifications")]:
        from schema.notifications import preferences  # noqa: PLC0415 - the same

        return await preferences(info.context, self.uuid)

    @link(description="Holds and purchases, newest first; for the person and ADMIN.", personal=True)
    async def reservations(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        status: Annotated[
            Annotated["ReservationStatus", strawberry.lazy("schema.holds")] | None,  # type: ignore[valid-type]
            described("Only holds in this state."),
        ] = None,
    ) -> Connection[Annotated["Reservation", strawberry.lazy("schema.holds")]]:
        from schema.holds import reservations_of  # noqa: PLC0415 - holds lead to people, and back

        return await reservations_of(
            info.context, self.uuid, first=first, after=after, status=status
        )

    @link(
        description="Where the person waits or was offered units; for the person and ADMIN.",
        personal=True,
    )
    async def waitlist(
        self, info: Info
    ) -> list[Annotated["WaitlistEntry", strawberry.lazy("schema.waitlists")]]:
        from schema.waitlists import waitlist_of  # noqa: PLC0415 - the same

        return await waitlist_of(info.context, self.uuid)


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
