"""Holds: units kept for one person for a minute."""

import math
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self
from uuid import UUID

import strawberry

from auth.errors import Forbidden
from db import errors as domain
from db.models.accounts import Role
from db.models.holds import ReservationStatus as ReservationStatusName
from db.models.predictions import AdmissionDecision as AdmissionDecisionName
from db.queries.accounts import users_by_id
from db.queries.eligibility import IneligibleReason as IneligibleReasonName
from db.queries.holds import HoldRow, count_reservations, reservations_of_user
from db.queries.promos import promos_by_id
from db.queries.store_products import store_products_by_id
from schema.accounts import User
from schema.attendance import AttendeeInput
from schema.catalogue import Money, StoreProduct
from schema.edge.connections import Connection, connection, page_request
from schema.edge.context import Context, Info
from schema.edge.fields import link
from schema.edge.ids import global_id
from schema.edge.loaders import load
from schema.edge.nodes import Node
from schema.edge.user_errors import TRANSLATIONS, MutationPayload, UserError, UserErrorCode
from schema.promos import IneligibleReason, Promo

if TYPE_CHECKING:
    from schema.waitlists import WaitlistEntry

ReservationStatus = strawberry.enum(
    ReservationStatusName,
    name="ReservationStatus",
    description="HELD ends as CONFIRMED (bought), CANCELLED (given back) or EXPIRED (time over).",
)
AdmissionDecision = strawberry.enum(
    AdmissionDecisionName,
    name="AdmissionDecision",
    description="ADMIT: held at once; WAITLIST: waits for a unit to come free; DENY: refused.",
)


@strawberry.enum(
    description="How a hold is paid for. NONE: outside of Auspex, such as at the counter."
)
class PaymentMethod(StrEnum):
    NONE = "NONE"


@strawberry.type(description="Units of a promo, kept for one person until they check out.")
class Reservation(Node):
    status: ReservationStatus = strawberry.field(  # type: ignore[valid-type]
        description="HELD until it is bought, given back, or its time is over."
    )
    quantity: int = strawberry.field(description="Units.")
    unit_price: Money = strawberry.field(description="Frozen when the hold was made.")
    created_at: datetime = strawberry.field(description="When the units were held.")
    expires_at: datetime = strawberry.field(description="When they go back unless bought.")
    seconds_remaining: int = strawberry.field(
        description="Whole seconds to expiresAt by the server's clock, rounded up; 0 when closed."
    )
    server_time: datetime = strawberry.field(
        description="The server's clock: a client's countdown is expiresAt minus this."
    )
    closed_at: datetime | None = strawberry.field(description="When it ended; null while HELD.")
    admission: AdmissionDecision = strawberry.field(  # type: ignore[valid-type]
        description="What the promo's admission decided; ADMIT where nobody is scored."
    )
    row: strawberry.Private[HoldRow]

    @classmethod
    def of(cls, row: HoldRow, context: Context) -> Self:
        now = context.now
        held = row.status == ReservationStatusName.HELD
        left = math.ceil((row.expires_at - now).total_seconds()) if held else 0
        return cls(
            id=strawberry.ID(global_id("Reservation", row.id)),
            status=ReservationStatusName(row.status),
            quantity=row.quantity,
            unit_price=Money(amount=row.unit_price, currency=context.policy.currency),
            created_at=row.created_at,
            expires_at=row.expires_at,
            seconds_remaining=max(left, 0),
            server_time=now,
            closed_at=row.closed_at,
            admission=AdmissionDecisionName(row.admission),
            row=row,
        )

    @link(description="Secret of the hold; only its owner reads it.")
    async def token(self, info: Info) -> str:
        viewer = await info.context.required_viewer()
        if viewer.id != self.row.user_id:
            raise Forbidden
        return self.row.token

    @link(description="The promo.")
    async def promo(self, info: Info) -> Promo:
        return Promo.of(await found(load(info.context, promos_by_id, self.row.promo_id)))

    @link(description="The stock row that the units are of.")
    async def store_product(self, info: Info) -> StoreProduct:
        row = await found(load(info.context, store_products_by_id, self.row.store_product_id))
        return StoreProduct.of(row)

    @link(description="Who holds the units.")
    async def user(self, info: Info) -> User:
        return User.of(await found(load(info.context, users_by_id, self.row.user_id)))


async def reservations_of(
    context: Context, user_id: UUID, *, first: int, after: str | None, status: Any
) -> Connection[Reservation]:
    """A page of a person's holds, newest first. Raises Forbidden for anybody else's."""
    await require_self(context, user_id)
    page = page_request(first, after, (datetime, int))
    async with context.database.read() as reader:
        rows = await reservations_of_user(
            reader, user_id, status=status, after=page.after, limit=page.limit
        )

    async def count() -> int:
        async with context.database.read() as counter:
            return await count_reservations(counter, user_id, status=status)

    return connection(
        page,
        rows,
        lambda row: (row.created_at, row.id),
        lambda row: Reservation.of(row, context),
        count,
    )


async def require_self(context: Context, user_id: UUID) -> None:
    """Raises Forbidden unless the caller is this person or ADMIN."""
    viewer = await context.required_viewer()
    if viewer.id != user_id and viewer.role is not Role.ADMIN:
        raise Forbidden


async def found(loading: Any) -> Any:
    """What a foreign key promises to be there."""
    row = await loading
    if row is None:
        raise LookupError("a row that a foreign key names is gone")
    return row


@strawberry.input(
    description="attendee: signals the server cannot know, for promos with scored admission; what "
    "it does know (account age, purchases, cancellations) overrides them."
)
class ReserveInput:
    promo_id: strawberry.ID = strawberry.field(description="The promo.")
    quantity: int = strawberry.field(default=1, description="Units, 1 or more.")
    pay_with: PaymentMethod = strawberry.field(
        default=PaymentMethod.NONE, description="How it is paid for."
    )
    attendee: AttendeeInput | None = strawberry.field(
        default=None, description="What you say of yourself; left out: typical values."
    )
    join_waitlist: bool = strawberry.field(
        default=False, description="Where nothing is left, take a place on the waitlist instead."
    )
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="1 to 255 characters of your choice: a request repeated with it gets the first "
        "one's hold instead of another.",
    )


@strawberry.input(description="Which hold to buy.")
class CheckoutInput:
    token: str = strawberry.field(description="The hold's token.")
    pay_with: PaymentMethod | None = strawberry.field(
        default=None, description="Must be what the hold was made with; left out: just that."
    )
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="Not needed, as a repeated checkout of a token buys once; a key that was used "
        "with another token is refused.",
    )


@strawberry.type(description="The hold, or a place on the waitlist, or why there is neither.")
class ReservePayload(MutationPayload):
    reservation: Reservation | None = strawberry.field(default=None, description="The hold.")
    waitlist_entry: Annotated["WaitlistEntry", strawberry.lazy("schema.waitlists")] | None = (
        strawberry.field(default=None, description="The place on the waitlist.")
    )


@strawberry.type(description="The hold after the purchase.")
class CheckoutPayload(MutationPayload):
    reservation: Reservation | None = strawberry.field(default=None, description="The hold.")


@strawberry.type(description="The hold after it was given back.")
class CancelReservationPayload(MutationPayload):
    reservation: Reservation | None = strawberry.field(default=None, description="The hold.")


@strawberry.type(description="Fewer units are left than were asked for.")
class StockError(UserError):
    units_left: int = strawberry.field(description="Units that can be reserved now.")
    waitlist_open: bool = strawberry.field(description="Whether joinWaitlist is possible.")


@strawberry.type(description="The hold is over.")
class HoldError(UserError):
    status: ReservationStatus = strawberry.field(  # type: ignore[valid-type]
        description="How it ended."
    )
    expired_at: datetime | None = strawberry.field(
        description="When its time was over; null if it ended otherwise."
    )


@strawberry.type(description="The promo enforces its audience, and the caller is not of it.")
class EligibilityError(UserError):
    reasons: list[IneligibleReason] = strawberry.field(  # type: ignore[valid-type]
        description="All that speaks against it."
    )
    distance_meters: float | None = strawberry.field(
        description="From the caller's location to the store; null without one."
    )


def _plain(error: Any) -> dict[str, Any]:
    path = list(error.field) if error.field else None
    return {"code": UserErrorCode(error.code), "message": error.message, "field": path}


def _stock_error(error: domain.OutOfStock) -> list[UserError]:
    return [
        StockError(**_plain(error), units_left=error.units_left, waitlist_open=error.waitlist_open)
    ]


def _hold_error(error: domain.HoldExpired | domain.HoldClosed) -> list[UserError]:
    status = ReservationStatusName(error.status)
    return [HoldError(**_plain(error), status=status, expired_at=error.expired_at)]


def _eligibility_error(error: domain.Ineligible) -> list[UserError]:
    reasons = [IneligibleReasonName(reason) for reason in error.reasons]
    return [
        EligibilityError(**_plain(error), reasons=reasons, distance_meters=error.distance_meters)
    ]


TRANSLATIONS[domain.OutOfStock] = _stock_error
TRANSLATIONS[domain.HoldExpired] = _hold_error
TRANSLATIONS[domain.HoldClosed] = _hold_error
TRANSLATIONS[domain.Ineligible] = _eligibility_error
