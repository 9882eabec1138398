"""Waiting for a unit to come free."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import strawberry

from db.events import waitlist_topic
from db.models.accounts import Role
from db.models.waitlists import WaitlistStatus
from db.queries import waitlists as queries
from db.transactions import waitlists as transactions
from resolvers.admissions import decide
from schema.edge.arguments import described
from schema.edge.context import Context, Info
from schema.edge.faults import NotFound
from schema.edge.fields import mutation, subscription
from schema.edge.ids import integer_key
from schema.edge.nodes import fetched_by
from schema.waitlists import WaitlistEntry, WaitlistPayload

REREAD_SECONDS = 5.0
"""A lost event costs a subscriber at most so long."""
OPEN_STATUSES = (WaitlistStatus.WAITING, WaitlistStatus.OFFERED)

PromoId = Annotated[strawberry.ID, described("The promo.")]


@strawberry.type
class WaitlistMutation:
    @mutation(
        access=Role.USER,
        description="Takes a place in line for the next free units; they are then held for you and "
        "you are told. Who has a place keeps it. Where units are free, they are offered at once.",
    )
    async def join_waitlist(
        self,
        info: Info,
        promo_id: PromoId,
        quantity: Annotated[int, described("Units, 1 or more.")] = 1,
    ) -> WaitlistPayload:
        context = info.context
        viewer = await context.required_viewer()
        promo = integer_key(promo_id, "Promo", "promoId")
        # The line of a promo that scores is no way around its scores.
        decided = await decide(context, viewer.id, promo, None, None, ("promoId",))
        async with context.database.transaction() as session:
            entry_id, topics = await transactions.join(
                session,
                user_id=viewer.id,
                promo_id=promo,
                score_id=decided.score_id if decided else None,
                quantity=quantity,
                now=context.now,
            )
        return await _payload(context, entry_id, topics)

    @mutation(
        access=Role.USER,
        description="Gives the place up; units offered to you go to the next in line. Repeatable.",
    )
    async def leave_waitlist(self, info: Info, promo_id: PromoId) -> WaitlistPayload:
        context = info.context
        viewer = await context.required_viewer()
        async with context.database.transaction() as session:
            entry_id, topics = await transactions.leave(
                session,
                user_id=viewer.id,
                promo_id=integer_key(promo_id, "Promo", "promoId"),
                now=context.now,
            )
        return await _payload(context, entry_id, topics)


async def _payload(context: Context, entry_id: int, topics: set[str]) -> WaitlistPayload:
    context.services.announcer.announce(topics)
    async with context.database.read() as reader:
        row = (await queries.entries_by_id(reader, [entry_id]))[entry_id]
    return WaitlistPayload(waitlist_entry=WaitlistEntry.of(row))


@strawberry.type
class WaitlistSubscription:
    @subscription(
        access=Role.USER,
        description="Your place on a promo's waitlist: at the start, as you move up, and when "
        "units are offered to you, until the matter is closed.",
    )
    async def waitlist_updated(self, info: Info, promo_id: PromoId) -> AsyncIterator[WaitlistEntry]:
        context = info.context
        viewer = await context.required_viewer()
        promo = integer_key(promo_id, "Promo", "promoId")
        told: queries.EntryRow | None = None
        async with context.services.events.listen(waitlist_topic(promo)) as news:
            while told is None or told.status in OPEN_STATUSES:
                row = await _latest(context, viewer.id, promo)
                if row is None:
                    raise NotFound("You are not on this waitlist.")
                if row != told:
                    told = row
                    context.loaders.clear()  # a stream outlives what a request may remember
                    yield WaitlistEntry.of(row)
                    continue
                try:
                    await asyncio.wait_for(news.get(), REREAD_SECONDS)
                except TimeoutError:
                    continue


async def _latest(context: Context, user_id: UUID, promo_id: int) -> queries.EntryRow | None:
    async with context.database.read() as reader:
        return await queries.latest_entry(reader, user_id, promo_id)


@fetched_by("WaitlistEntry")
async def fetch_entry(context: Context, key: str) -> WaitlistEntry | None:
    viewer = await context.required_viewer()
    entry_id = integer_key(key, "WaitlistEntry")
    async with context.database.read() as reader:
        row = (await queries.entries_by_id(reader, [entry_id])).get(entry_id)
    if row is None or (row.user_id != viewer.id and viewer.role is not Role.ADMIN):
        return None
    return WaitlistEntry.of(row)
