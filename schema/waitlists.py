"""Waitlists: who is next when a unit comes free."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

import strawberry

from db import errors as domain
from db.models.predictions import AdmissionDecision as AdmissionDecisionName
from db.models.waitlists import WaitlistStatus as WaitlistStatusName
from db.queries.holds import reservations_by_id
from db.queries.promos import promos_by_id
from db.queries.waitlists import EntryRow, entries_by_id, entries_of_users
from schema.edge.context import Context, Info
from schema.edge.fields import link
from schema.edge.ids import global_id
from schema.edge.loaders import load
from schema.edge.nodes import Node
from schema.edge.user_errors import TRANSLATIONS, MutationPayload, UserError, UserErrorCode
from schema.holds import AdmissionDecision, Reservation, found, require_self
from schema.promos import Promo

WaitlistStatus = strawberry.enum(
    WaitlistStatusName,
    name="WaitlistStatus",
    description="WAITING; OFFERED: units are held for you; CONVERTED: you got units; MISSED: the "
    "offer or the promo ran out; LEFT: you gave the place up.",
)


@strawberry.type(description="A place in the line for a promo's next free units.")
class WaitlistEntry(Node):
    quantity: int = strawberry.field(description="Units waited for.")
    status: WaitlistStatus = strawberry.field(  # type: ignore[valid-type]
        description="Where the matter stands."
    )
    position: int | None = strawberry.field(description="1 is next; null for who waits no longer.")
    joined_at: datetime = strawberry.field(description="When the place was taken.")
    row: strawberry.Private[EntryRow]

    @classmethod
    def of(cls, row: EntryRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("WaitlistEntry", row.id)),
            quantity=row.quantity,
            status=WaitlistStatusName(row.status),
            position=row.position,
            joined_at=row.joined_at,
            row=row,
        )

    @link(description="The promo.")
    async def promo(self, info: Info) -> Promo:
        return Promo.of(await found(load(info.context, promos_by_id, self.row.promo_id)))

    @link(description="The units that were held for you: check out before they expire.")
    async def offer(self, info: Info) -> Reservation | None:
        if self.row.offer_reservation_id is None:
            return None
        hold = await found(load(info.context, reservations_by_id, self.row.offer_reservation_id))
        return Reservation.of(hold, info.context)


async def waitlist_of(context: Context, user_id: UUID) -> list[WaitlistEntry]:
    """A person's open places. Raises Forbidden for anybody else's."""
    await require_self(context, user_id)
    rows = await load(context, entries_of_users, user_id)
    return [WaitlistEntry.of(row) for row in rows or ()]


@strawberry.type(description="The place on the waitlist.")
class WaitlistPayload(MutationPayload):
    waitlist_entry: WaitlistEntry | None = strawberry.field(
        default=None, description="The place, with what became of it."
    )


@strawberry.type(description="The promo scores who asks, and did not admit the caller at once.")
class AdmissionError(UserError):
    decision: AdmissionDecision = strawberry.field(  # type: ignore[valid-type]
        description="WAITLIST or DENY."
    )
    entry_id: strawberry.Private[int | None]

    @link(description="The place on the waitlist that was given instead; null if denied.")
    async def waitlist_entry(self, info: Info) -> WaitlistEntry | None:
        if self.entry_id is None:
            return None
        return WaitlistEntry.of(await found(load(info.context, entries_by_id, self.entry_id)))


def _admission_error(error: domain.AdmissionRefused) -> list[UserError]:
    code: Any = UserErrorCode(error.code)
    return [
        AdmissionError(
            code=code,
            message=error.message,
            field=list(error.field or ()),
            decision=AdmissionDecisionName(error.decision),
            entry_id=error.entry_id,
        )
    ]


TRANSLATIONS[domain.AdmissionRefused] = _admission_error
