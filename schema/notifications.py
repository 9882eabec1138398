"""Notices to people: the inbox, its filters, preferences."""

from datetime import date as Day  # noqa: N812 - a field is called date elsewhere
from datetime import datetime, time
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

import strawberry

from auth.errors import Forbidden
from db.models.accounts import LARGEST_DAILY_CAP, Role
from db.models.notifications import NotificationKind as NotificationKindName
from db.queries import notifications as queries
from db.queries.holds import reservations_by_id
from db.queries.promos import promos_by_id
from schema.edge.arguments import described
from schema.edge.connections import Connection, connection, page_request
from schema.edge.context import Context, Info
from schema.edge.fields import link
from schema.edge.ids import global_id
from schema.edge.loaders import load
from schema.edge.nodes import Node
from schema.edge.user_errors import MutationPayload
from schema.holds import Reservation
from schema.promos import Promo

NotificationKind = strawberry.enum(
    NotificationKindName,
    name="NotificationKind",
    description="What a notice is about. WAITLIST_OFFER and PREDICTION_READY come at any time; "
    "the others keep to quiet hours, the daily cap and what the person has switched off.",
)
Kinds = Annotated[
    list[NotificationKind] | None,  # type: ignore[valid-type]
    described("Only these kinds; left out: all."),
]
NotificationSubject = Annotated[
    Promo | Reservation,
    strawberry.union("NotificationSubject", description="What a notice is about."),
]


@strawberry.type(description="A notice to one person; only that person sees it.")
class Notification(Node):
    kind: NotificationKind = strawberry.field(description="What it is about.")  # type: ignore[valid-type]
    title: str = strawberry.field(description="One line.")
    body: str = strawberry.field(description="The rest of it.")
    distance_meters: float | None = strawberry.field(
        description="From the person to the store when it was sent; null if it is of no place."
    )
    sent_date: Day = strawberry.field(
        description="The person's own day: one notice a promo and day."
    )
    created_at: datetime = strawberry.field(description="When it was sent.")
    read_at: datetime | None = strawberry.field(
        description="When it was first marked as read; null: unread."
    )
    row: strawberry.Private[queries.NotificationRow]

    @classmethod
    def of(cls, row: queries.NotificationRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("Notification", row.id)),
            kind=NotificationKindName(row.kind),
            title=row.title,
            body=row.body,
            distance_meters=row.distance_m,
            sent_date=row.sent_date,
            created_at=row.created_at,
            read_at=row.read_at,
            row=row,
        )

    @link(description="The promo, or the hold that was made for the person.")
    async def subject(self, info: Info) -> NotificationSubject | None:
        context = info.context
        if self.row.reservation_id is not None:
            hold = await load(context, reservations_by_id, self.row.reservation_id)
            return Reservation.of(hold, context) if hold else None
        if self.row.promo_id is not None:
            promo = await load(context, promos_by_id, self.row.promo_id)
            return Promo.of(promo) if promo else None
        return None


@strawberry.type(description="Which notices a person wants, how many and when.")
class NotificationPreferences:
    promos_enabled: bool = strawberry.field(description="Whether to tell of promos near by.")
    shortages_enabled: bool = strawberry.field(description="Whether to tell of watched shortages.")
    daily_cap: int = strawberry.field(
        description="Most notices a day, over all promos; offers and finished work come on top."
    )
    quiet_from: str | None = strawberry.field(
        description="Local time HH:MM from which notices are held back; null: never."
    )
    quiet_to: str | None = strawberry.field(
        description="Local time HH:MM at which they are sent, if they still hold then."
    )
    low_balance_threshold: Decimal | None = strawberry.field(
        description="Credits below which to tell of a low balance; null: never."
    )
    sent_today: int = strawberry.field(
        description="Notices of the person's day that count against the cap."
    )

    @classmethod
    def of(cls, row: queries.PreferencesRow) -> Self:
        return cls(
            promos_enabled=row.promos_enabled,
            shortages_enabled=row.shortages_enabled,
            daily_cap=row.daily_cap,
            quiet_from=clock(row.quiet_from),
            quiet_to=clock(row.quiet_to),
            low_balance_threshold=row.low_balance_threshold,
            sent_today=row.sent_today,
        )


def clock(moment: time | None) -> str | None:
    return f"{moment:%H:%M}" if moment else None


@strawberry.input(
    description="quietFrom / quietTo: local 'HH:MM', both or neither; held back, then sent when "
    "quiet hours end. Omitted: unchanged."
)
class NotificationPreferencesInput:
    promos_enabled: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether to tell of promos near by."
    )
    shortages_enabled: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether to tell of watched shortages."
    )
    daily_cap: int | None = strawberry.field(
        default=strawberry.UNSET, description=f"Most notices a day, 0 to {LARGEST_DAILY_CAP}."
    )
    quiet_from: str | None = strawberry.field(
        default=strawberry.UNSET, description="Local time HH:MM; null clears both."
    )
    quiet_to: str | None = strawberry.field(
        default=strawberry.UNSET, description="Local time HH:MM, another; null clears both."
    )
    low_balance_threshold: Decimal | None = strawberry.field(
        default=strawberry.UNSET, description="Credits, 0 or more; null: never tell."
    )


@strawberry.type(description="The preferences after the change.")
class NotificationPreferencesPayload(MutationPayload):
    preferences: NotificationPreferences | None = strawberry.field(
        default=None, description="The preferences."
    )


@strawberry.type(description="The notices as they are now.")
class MarkNotificationsReadPayload(MutationPayload):
    notifications: list[Notification] | None = strawberry.field(
        default=None, description="In the order asked for."
    )


async def require_own(context: Context, user_id: UUID) -> None:
    """Raises Forbidden unless the caller is that person, or ADMIN."""
    viewer = await context.required_viewer()
    if viewer.id != user_id and viewer.role is not Role.ADMIN:
        raise Forbidden


def kind_names(kinds: list[NotificationKindName] | None) -> tuple[str, ...] | None:
    return None if kinds is None else tuple(kind.value for kind in kinds)


async def inbox(
    context: Context,
    user_id: UUID,
    *,
    first: int,
    after: str | None,
    unread_only: bool,
    kinds: list[NotificationKindName] | None,
) -> Connection[Notification]:
    """Newest first. Raises Forbidden, BadUserInput."""
    await require_own(context, user_id)
    page = page_request(first, after, (int,))
    chosen = {"unread_only": unread_only, "kinds": kind_names(kinds)}
    rows = await load(
        context,
        queries.inbox_pages,
        user_id,
        limit=page.limit,
        before_id=page.after[0] if page.after else None,
        **chosen,
    )

    async def count() -> int:
        return await load(context, queries.inbox_counts, user_id, **chosen) or 0

    return connection(page, rows or (), lambda row: (row.id,), Notification.of, count)


async def preferences(context: Context, user_id: UUID) -> NotificationPreferences:
    """Raises Forbidden."""
    await require_own(context, user_id)
    async with context.database.read() as reader:
        row = (await queries.preferences_by_user(reader, [user_id], now=context.now))[user_id]
    return NotificationPreferences.of(row)
