"""Notices: streams of new ones, what was read, and what people want to be told of."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import fields
from typing import Annotated

import strawberry

from db.models.accounts import Role
from db.models.notifications import NotificationKind as NotificationKindName
from db.queries import notifications as queries
from db.transactions import preferences as transactions
from schema.edge.arguments import described
from schema.edge.context import Context, Info
from schema.edge.fields import mutation, subscription
from schema.edge.ids import integer_key
from schema.edge.nodes import fetched_by
from schema.edge.notification_feed import feed_of
from schema.notifications import (
    Kinds,
    MarkNotificationsReadPayload,
    Notification,
    NotificationPreferences,
    NotificationPreferencesInput,
    NotificationPreferencesPayload,
    kind_names,
)

FROM_THE_START = "0"
SeenLast = Annotated[
    strawberry.ID | None,
    described(
        "The last notice that you have, by global or raw id: what came after it is sent first, "
        "oldest first ('0': all there are). Left out: only what comes from now on."
    ),
]


@strawberry.type
class NotificationMutation:
    @mutation(
        access=Role.USER,
        description="Changes what the caller is told of. Problems: OUT_OF_RANGE, INVALID, REQUIRED "
        "(one of the quiet hours without the other).",
    )
    async def update_notification_preferences(
        self,
        info: Info,
        input: Annotated[NotificationPreferencesInput, described("What to change.")],
    ) -> NotificationPreferencesPayload:
        context = info.context
        viewer = await context.required_viewer()
        given = {
            field.name: value
            for field in fields(input)
            if (value := getattr(input, field.name)) is not strawberry.UNSET
        }
        async with context.database.transaction() as session:
            row = await transactions.update_preferences(session, viewer.id, given, context.now)
        return NotificationPreferencesPayload(preferences=NotificationPreferences.of(row))

    @mutation(
        access=Role.USER,
        description="Marks up to 100 of the caller's notices as read; repeating it changes "
        "nothing. NOT_FOUND at the ids that are not theirs: then none is marked.",
    )
    async def mark_notifications_read(
        self, info: Info, ids: Annotated[list[strawberry.ID], described("Notices, 100 at most.")]
    ) -> MarkNotificationsReadPayload:
        context = info.context
        viewer = await context.required_viewer()
        keys = [integer_key(id, "Notification", "ids") for id in ids]
        async with context.database.transaction() as session:
            rows = await transactions.mark_read(session, viewer.id, keys, context.now)
        return MarkNotificationsReadPayload(notifications=[Notification.of(row) for row in rows])


async def new_notices(
    info: Info, after: str | None, kinds: tuple[str, ...] | None
) -> AsyncGenerator[Notification, None]:
    """The caller's notices, each once and in order. Raises BadUserInput."""
    context = info.context
    viewer = await context.required_viewer()
    seen = None
    if after is not None:
        seen = 0 if after == FROM_THE_START else integer_key(after, "Notification", "after")
    async with aclosing(feed_of(context.services).follow(viewer.id, seen, kinds)) as rows:
        async for row in rows:
            context.loaders.clear()  # a stream outlives what a request may remember
            yield Notification.of(row)


@strawberry.type
class NotificationSubscription:
    @subscription(
        access=Role.USER,
        description="Notices of promos near by. With `after`, first what was missed since.",
    )
    async def promo_notifications(
        self, info: Info, after: SeenLast = None
    ) -> AsyncIterator[Notification]:
        async with aclosing(new_notices(info, after, (NotificationKindName.PROMO,))) as notices:
            async for notice in notices:
                yield notice

    @subscription(
        access=Role.USER,
        description="All notices, or those of some kinds. With `after`, first what was missed "
        "since.",
    )
    async def notifications(
        self, info: Info, after: SeenLast = None, kinds: Kinds = None
    ) -> AsyncIterator[Notification]:
        async with aclosing(new_notices(info, after, kind_names(kinds))) as notices:
            async for notice in notices:
                yield notice


@fetched_by("Notification")
async def fetch_notification(context: Context, key: str) -> Notification | None:
    """Only one's own."""
    viewer = await context.required_viewer()
    notification_id = integer_key(key, "Notification")
    async with context.database.read() as reader:
        row = (await queries.notifications_by_id(reader, [notification_id])).get(notification_id)
    return Notification.of(row) if row and row.user_id == viewer.id else None
