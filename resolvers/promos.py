"""Promos: what is on near by, and what merchants offer."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import strawberry

from db.events import promo_topic, stock_topic
from db.models.accounts import Role
from db.models.promos import PromoStatus
from db.queries import nearby
from db.queries import promos as queries
from db.transactions import promos as transactions
from resolvers.catalogue import said
from schema.edge.arguments import After, First, Id, described
from schema.edge.connections import Connection, connection, page_request
from schema.edge.context import Context, Info
from schema.edge.faults import NotFound
from schema.edge.fields import mutation, query, subscription
from schema.edge.ids import integer_key
from schema.edge.nodes import fetched_by
from schema.edge.viewers import Viewer
from schema.promo_inputs import PromoFilter, PromoInput, PromoPayload
from schema.promos import Promo

REREAD_SECONDS = 5.0
"""A lost event costs a subscriber at most so long."""
SECONDS_BETWEEN_LOOKS = 1.0
OVER = {PromoStatus.ENDED, PromoStatus.CANCELLED}


async def _promo(context: Context, promo_id: int) -> queries.PromoRow | None:
    async with context.database.read() as reader:
        return (await queries.promos_by_id(reader, [promo_id])).get(promo_id)


@strawberry.type
class PromoQuery:
    @query(
        access=Role.USER,
        description="ACTIVE, in schedule and open to the caller (segment and distance), nearest "
        "first. eligibleOnly: false also lists the other active ones, with reasons in "
        "Promo.eligibility.",
    )
    async def active_promos(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        eligible_only: Annotated[bool, described("Leave out what is not open to you.")] = True,
    ) -> Connection[Promo]:
        context, now = info.context, info.context.now
        viewer = await context.required_viewer()
        page = page_request(first, after, (float, int))
        near = nearby.eligible_near if eligible_only else nearby.active_near
        async with context.database.read() as reader:
            rows = await near(reader, viewer.id, now=now, after=page.after, limit=page.limit)

        async def count() -> int:
            async with context.database.read() as counter:
                if eligible_only:
                    return await nearby.count_eligible(counter, viewer.id, now=now)
                return await nearby.count_active(counter)

        return connection(
            page,
            rows,
            lambda row: (row.distance_meters, row.promo.id),
            lambda row: Promo.of(row.promo),
            count,
        )

    @query(
        access=Role.MERCHANT,
        description="Promos of the caller's own stores (ADMIN: of all), the last to start first.",
    )
    async def promos(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        filter: Annotated[PromoFilter | None, described("Which ones.")] = None,  # noqa: A002
    ) -> Connection[Promo]:
        context = info.context
        wanted = _wanted(await context.required_viewer(), filter or PromoFilter())
        page = page_request(first, after, (datetime, int))
        async with context.database.read() as reader:
            rows = await queries.promos_page(reader, wanted, page.after, page.limit)

        async def count() -> int:
            async with context.database.read() as counter:
                return await queries.count_promos(counter, wanted)

        return connection(page, rows, lambda row: (row.starts_at, row.id), Promo.of, count)

    @query(access=Role.USER, description="One promo, whatever its state; null if there is none.")
    async def promo(self, info: Info, id: Id) -> Promo | None:
        row = await _promo(info.context, integer_key(id, "Promo"))
        return Promo.of(row) if row else None


def _wanted(viewer: Viewer, asked: PromoFilter) -> queries.PromoFilter:
    return queries.PromoFilter(
        owner_id=None if viewer.role is Role.ADMIN else viewer.id,
        store_id=_key_if_said(asked.store_id, "Store", "storeId"),
        status=asked.status or None,
        starts_after=asked.starts_after or None,
        starts_before=asked.starts_before or None,
    )


def _key_if_said(value: str | None, type_name: str, argument: str) -> int | None:
    """None for what was left out or null; an empty id is an id, of nothing."""
    if value is None or value is strawberry.UNSET:
        return None
    return integer_key(value, type_name, argument)


def _terms(input: PromoInput) -> dict[str, Any]:
    """What was said, by column. Raises BadUserInput for an id that is none."""
    terms = said(
        store_product_id=input.store_product_id,
        starts_at=input.starts_at,
        ends_at=input.ends_at,
        segments=input.segments,
        radius_m=input.radius_meters,
        discount_percent=input.discount_percent,
        quota=input.quota,
        max_per_user=input.max_per_user,
        hold_seconds=input.hold_seconds,
        enforce_audience=input.enforce_audience,
        admission_mode=input.admission_policy and input.admission_policy.mode,
    )
    if (stock_id := terms.get("store_product_id")) is not None:
        terms["store_product_id"] = integer_key(stock_id, "StoreProduct", "storeProductId")
    if (percent := terms.get("discount_percent")) is not None:
        terms["discount_percent"] = Decimal(repr(percent))
    if policy := input.admission_policy or None:
        terms |= {"admit_above": policy.admit_above, "deny_below": policy.deny_below}
    return terms


async def _editor(context: Context) -> transactions.Editor:
    viewer = await context.required_viewer()
    return transactions.Editor(viewer.id, is_admin=viewer.role is Role.ADMIN)


async def _changed(context: Context, promo_id: int, topics: set[str]) -> PromoPayload:
    context.services.announcer.announce(topics)
    row = await _promo(context, promo_id)
    return PromoPayload(promo=Promo.of(row) if row else None)


@strawberry.type
class PromoMutation:
    @mutation(
        access=Role.MERCHANT,
        description="Offers stock of a store of the caller's (ADMIN: any). It is SCHEDULED and "
        "goes live by the clock, within 2 s of startsAt, at once if that is past.",
    )
    async def create_promo(
        self, info: Info, input: Annotated[PromoInput, described("The promo.")]
    ) -> PromoPayload:
        context = info.context
        editor = await _editor(context)
        async with context.database.transaction() as session:
            promo_id = await transactions.create_promo(
                session,
                _terms(input),
                editor=editor,
                hold_seconds=context.policy.hold_seconds,
                now=context.now,
            )
        return await _changed(context, promo_id, {promo_topic(promo_id)})

    @mutation(
        access=Role.MERCHANT,
        description="Changes a promo that is not over. Its stock row, and the start of a running "
        "one, can't change; prices of open holds stay.",
    )
    async def update_promo(
        self, info: Info, id: Id, input: Annotated[PromoInput, described("What to change.")]
    ) -> PromoPayload:
        context, promo_id = info.context, integer_key(id, "Promo")
        editor = await _editor(context)
        async with context.database.transaction() as session:
            topics = await transactions.update_promo(
                session, promo_id, _terms(input), editor=editor, now=context.now
            )
        return await _changed(context, promo_id, topics)

    @mutation(
        access=Role.MERCHANT,
        description="Ends it now, releases its holds and sends its waitlist home. Repeatable.",
    )
    async def cancel_promo(self, info: Info, id: Id) -> PromoPayload:
        context, promo_id = info.context, integer_key(id, "Promo")
        editor = await _editor(context)
        async with context.database.transaction() as session:
            topics = await transactions.cancel_promo(
                session, promo_id, editor=editor, now=context.now
            )
        return await _changed(context, promo_id, topics)


@strawberry.type
class PromoSubscription:
    @subscription(
        access=Role.USER,
        shared=True,
        description="Remaining stock and status of one promo: now, then at most one event a "
        "second, until it is over.",
    )
    async def promo_updated(
        self, info: Info, promo_id: Annotated[strawberry.ID, described("The promo.")]
    ) -> AsyncIterator[Promo]:
        context = info.context
        key = integer_key(promo_id, "Promo", "promoId")
        row = await _promo(context, key)
        if row is None:
            raise NotFound("There is no such promo.")
        async with AsyncExitStack() as stack:
            topics = (promo_topic(key), stock_topic(row.store_product_id))
            news = [
                await stack.enter_async_context(context.services.events.listen(topic))
                for topic in topics
            ]
            states = await stack.enter_async_context(aclosing(_states(context, key, news)))
            async for state in states:
                context.loaders.clear()  # a stream outlives what a request may remember
                yield Promo.of(state)


async def _states(
    context: Context, promo_id: int, news: Sequence["asyncio.Queue[str]"]
) -> AsyncGenerator[queries.PromoRow]:
    """The promo as it is, and again when it has changed, until it is over.

    What happens within a second of a look is told together when the second is over: the state is
    read after the wait, so the last one is never the one left out.
    """
    told: tuple[object, ...] | None = None
    while (row := await _promo(context, promo_id)) is not None:
        if (state := visible(row)) != told:
            told = state
            yield row
        if row.status in OVER:
            return
        await breather()
        await _next(news)


async def breather() -> None:
    """One event a second at most, and one look."""
    await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


def visible(row: queries.PromoRow) -> tuple[object, ...]:
    """What a change of is an event: not every sale that leaves the quota as it was."""
    return (row.status, queries.remaining(row), row.updated_at, row.base_price)


async def _next(news: Sequence["asyncio.Queue[str]"]) -> None:
    """Until something is told, or was told since, or the time for a look of our own has come."""
    waiting = [asyncio.create_task(queue.get()) for queue in news]
    try:
        await asyncio.wait(waiting, timeout=REREAD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    for queue in news:
        while not queue.empty():
            queue.get_nowait()


@fetched_by("Promo")
async def fetch_promo(context: Context, key: str) -> Promo | None:
    await context.required_viewer()
    row = await _promo(context, integer_key(key, "Promo"))
    return Promo.of(row) if row else None
