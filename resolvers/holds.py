"""Taking the last units: reserve, check out, give back, and watch the countdown."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry
from prometheus_client import Counter

from db.errors import InputRejected, OutOfStock, ScoreMissing
from db.events import hold_topic
from db.idempotency import check_key, claim, request_hash
from db.models.accounts import Role
from db.models.holds import ReservationStatus
from db.queries import holds as queries
from db.queries.waitlists import entries_by_id
from db.transactions import holds as transactions
from db.transactions import waitlists
from db.transactions.reserving import HoldRequest
from resolvers.admissions import admission
from schema.edge.arguments import described
from schema.edge.context import Context, Info
from schema.edge.faults import BadUserInput, NotFound
from schema.edge.fields import Rate, mutation, query, subscription
from schema.edge.ids import integer_key
from schema.edge.nodes import fetched_by
from schema.holds import (
    CancelReservationPayload,
    CheckoutInput,
    CheckoutPayload,
    Reservation,
    ReserveInput,
    ReservePayload,
)
from schema.waitlists import WaitlistEntry

HOLDS = Counter("auspex_holds_total", "Requests for units by how they ended.", ["outcome"])

ATTEMPTS = 3
"""A promo that goes live, or begins to score, between the look and the lock is looked at again."""
REREAD_SECONDS = 5.0
"""A lost event costs a subscriber at most so long."""
JUST_PAST = 0.01
"""Seconds after its end a hold reads EXPIRED by any clock worth the name."""
LONGEST_TICK = 3_600
LARGEST_QUANTITY = 2**31 - 1

Token = Annotated[str, described("The hold's token, from reserve.")]


@strawberry.type
class HoldQuery:
    @query(
        access=Role.USER,
        description="A hold by its token, for its owner or an ADMIN; null if there is none.",
    )
    async def reservation(self, info: Info, token: Token) -> Reservation | None:
        row = await _visible(info.context, token)
        return Reservation.of(row, info.context) if row else None


async def _visible(context: Context, token: str) -> queries.HoldRow | None:
    viewer = await context.required_viewer()
    async with context.database.read() as reader:
        row = await queries.hold_by_token(reader, token)
    if row is None or (row.user_id != viewer.id and viewer.role is not Role.ADMIN):
        return None
    return row


@strawberry.type
class HoldMutation:
    @mutation(
        access=Role.USER,
        rate=Rate(20, 60),
        cost=10,
        description="Holds units of a promo for holdSeconds at today's price. One open hold a "
        "person and promo: a further request returns it. Replaces POST /cart/reserve.",
    )
    async def reserve(
        self, info: Info, input: Annotated[ReserveInput, described("What to hold.")]
    ) -> ReservePayload:
        context = info.context
        viewer = await context.required_viewer()
        promo_id = integer_key(input.promo_id, "Promo", "promoId")
        request = hold_request(viewer.id, promo_id, input)
        for _ in range(ATTEMPTS):
            score_id = await admission(context, viewer, promo_id, input, request)
            request = replace(request, score_id=score_id)
            outcome = await context.services.reserver.reserve(promo_id, request)
            if not isinstance(outcome, ScoreMissing):
                break
        if isinstance(outcome, queries.HoldRow):
            HOLDS.labels("held").inc()
            return ReservePayload(reservation=Reservation.of(outcome, info.context))
        HOLDS.labels(outcome.code.lower()).inc()
        if isinstance(outcome, OutOfStock) and input.join_waitlist:
            return await _wait_instead(context, viewer.id, promo_id, request)
        raise outcome

    @mutation(
        access=Role.USER,
        description="Buys what is held. A repeat returns the bought hold again. Replaces "
        "PUT /cart/checkout.",
    )
    async def checkout(
        self, info: Info, input: Annotated[CheckoutInput, described("Which hold.")]
    ) -> CheckoutPayload:
        context = info.context
        viewer = await context.required_viewer()
        async with context.database.transaction() as session:
            await claim(
                session,
                user_id=viewer.id,
                operation="checkout",
                key=input.idempotency_key,
                request={"token": input.token},
                ref=input.token,
                now=context.now,
            )
            row, topics = await transactions.checkout(
                session, user_id=viewer.id, token=input.token, now=context.now
            )
        context.services.announcer.announce(topics)
        return CheckoutPayload(reservation=Reservation.of(row, info.context))

    @mutation(
        access=Role.USER,
        description="Gives the units back. A repeat on a CANCELLED or EXPIRED hold returns it "
        "again. Replaces PUT /cart/cancel.",
    )
    async def cancel_reservation(self, info: Info, token: Token) -> CancelReservationPayload:
        context = info.context
        viewer = await context.required_viewer()
        async with context.database.transaction() as session:
            row, topics = await transactions.cancel(
                session, user_id=viewer.id, token=token, now=context.now
            )
        context.services.announcer.announce(topics)
        return CancelReservationPayload(reservation=Reservation.of(row, info.context))


def hold_request(user_id: UUID, promo_id: int, input: ReserveInput) -> HoldRequest:
    """Raises InputRejected for a quantity or a key out of range."""
    if not 1 <= input.quantity <= LARGEST_QUANTITY:
        message = f"quantity must be at least 1, got {input.quantity}"
        raise InputRejected.one("OUT_OF_RANGE", ("input", "quantity"), message)
    if input.idempotency_key is not None:
        check_key(input.idempotency_key)
    asked = request_hash({"promo": promo_id, "quantity": input.quantity, "pay": input.pay_with})
    return HoldRequest(user_id, input.quantity, input.idempotency_key, asked)


async def _wait_instead(
    context: Context, user_id: UUID, promo_id: int, request: HoldRequest
) -> ReservePayload:
    async with context.database.transaction() as session:
        entry_id, topics = await waitlists.join(
            session,
            user_id=user_id,
            promo_id=promo_id,
            quantity=request.quantity,
            now=context.now,
            field=("input", "promoId"),
            score_id=request.score_id,
        )
    context.services.announcer.announce(topics)
    async with context.database.read() as reader:
        row = (await entries_by_id(reader, [entry_id]))[entry_id]
    return ReservePayload(waitlist_entry=WaitlistEntry.of(row))


@strawberry.type
class HoldSubscription:
    @subscription(
        access=Role.USER,
        description="A hold: once at the start, at each change, and every tickSeconds (0: changes "
        "only), until it is closed. Count down with serverTime, not with the client's clock.",
    )
    async def reservation_updated(
        self,
        info: Info,
        token: Token,
        tick_seconds: Annotated[
            int, described("Seconds between events without a change, 0 to 3600; 0: none.")
        ] = 0,
    ) -> AsyncIterator[Reservation]:
        if not 0 <= tick_seconds <= LONGEST_TICK:
            message = f"tickSeconds must be between 0 and {LONGEST_TICK}, got {tick_seconds}"
            raise BadUserInput(message, ["tickSeconds"])
        row = await _visible(info.context, token)
        if row is None:
            raise NotFound("There is no such hold.")
        async with aclosing(_changes(info.context, row.id, tick_seconds)) as rows:
            async for row in rows:
                info.context.loaders.clear()  # a stream outlives what a request may remember
                yield Reservation.of(row, info.context)


async def _changes(
    context: Context, hold_id: int, tick_seconds: int
) -> AsyncGenerator[queries.HoldRow]:
    """The hold now, then as often as it changes or the clock ticks; ends after it is closed."""
    async with context.services.events.listen(hold_topic(hold_id)) as news:
        row = told = await _read(context, hold_id)
        yield row
        while row.status == ReservationStatus.HELD:
            ticks, wait = patience(row, context.now, tick_seconds)
            try:
                await asyncio.wait_for(news.get(), wait)
            except TimeoutError:
                if ticks:  # nothing has happened but time: no need to read
                    yield row
                    continue
            row = await _read(context, hold_id)
            if row != told:
                told = row
                yield row


async def _read(context: Context, hold_id: int) -> queries.HoldRow:
    async with context.database.read() as reader:
        return (await queries.reservations_by_id(reader, [hold_id]))[hold_id]


def patience(row: queries.HoldRow, now: datetime, tick_seconds: int) -> tuple[bool, float]:
    """Whether the next thing to wait for is a tick, and the seconds until it is due.

    Else it is the hold's end, or a look at the database in case an event was lost. Ticks fall where
    a multiple of `tick_seconds` remains, so that a countdown shows whole figures.
    """
    left = (row.expires_at - now).total_seconds()
    to_end = max(left, 0) + JUST_PAST
    if tick_seconds and left > tick_seconds:
        return True, left - (math.ceil(left / tick_seconds) - 1) * tick_seconds
    return False, min(to_end, REREAD_SECONDS)


@fetched_by("Reservation")
async def fetch_reservation(context: Context, key: str) -> Reservation | None:
    viewer = await context.required_viewer()
    hold_id = integer_key(key, "Reservation")
    async with context.database.read() as reader:
        row = (await queries.reservations_by_id(reader, [hold_id])).get(hold_id)
    if row is None or (row.user_id != viewer.id and viewer.role is not Role.ADMIN):
        return None
    return Reservation.of(row, context)
