"""Flash promos: a part of a store's stock, offered for a while to people near by."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Self
from uuid import UUID

import strawberry

from auth.errors import Forbidden
from db.models.accounts import Role
from db.models.promos import AdmissionMode as AdmissionModeName
from db.models.promos import PromoStatus as PromoStatusName
from db.queries import promos as queries
from db.queries.admissions import admission_counts, admissions_of_promos
from db.queries.eligibility import Eligibility, eligibility_of_promos
from db.queries.eligibility import IneligibleReason as IneligibleReasonName
from db.queries.notifications import AudienceRow, audience
from db.queries.store_products import store_products_by_id
from db.session import Reader
from schema.accounts import Segment
from schema.catalogue import Money, PromoStatus, StoreProduct
from schema.edge.arguments import After, First
from schema.edge.connections import Connection, connection, page_request
from schema.edge.context import Context, Info
from schema.edge.fields import link, query
from schema.edge.ids import global_id
from schema.edge.loaders import load
from schema.edge.nodes import Node
from schema.predictions import Prediction

AdmissionMode = strawberry.enum(
    AdmissionModeName,
    name="AdmissionMode",
    description="OPEN: first come, first served. SCORED: a model looks at who asks.",
)
IneligibleReason = strawberry.enum(
    IneligibleReasonName,
    name="IneligibleReason",
    description="Why a promo is not open to a person: its state and schedule, the person's "
    "location, distance and segments, what is left, the limit per person.",
)

Clock = Callable[[], datetime]
AUDIENCE_COST = 20
"""It looks at everybody near by. And asked without limit, each time with another radius, it would
tell where somebody is."""


@strawberry.type(
    description="SCORED: admitAbove and up is held at once, below denyBelow is refused (0: nobody "
    "is), the band between joins the waitlist."
)
class AdmissionPolicy:
    mode: AdmissionMode = strawberry.field(description="Whether people are scored.")  # type: ignore[valid-type]
    admit_above: float = strawberry.field(description="Least probability that is held at once.")
    deny_below: float = strawberry.field(description="Probabilities below are refused; 0: none.")


@strawberry.type(description="Whether a promo is open to the caller at this moment.")
class PromoEligibility:
    eligible: bool = strawberry.field(description="True if there is no reason against it.")
    reasons: list[IneligibleReason] = strawberry.field(  # type: ignore[valid-type]
        description="Everything that keeps the caller from it."
    )
    distance_meters: float | None = strawberry.field(
        description="From the caller to the store; null if the caller has no location."
    )

    @classmethod
    def of(cls, found: Eligibility) -> Self:
        return cls(
            eligible=found.eligible,
            reasons=[IneligibleReasonName(reason) for reason in found.reasons],
            distance_meters=found.distance_meters,
        )


@strawberry.type(
    description="Dry run of the next notification round. Each of those matched is counted once "
    "more, at the first that applies: told today, opted out, over the cap, in quiet hours, to "
    "notify."
)
class PromoAudience:
    matched: int = strawberry.field(description="People whom it reaches by place and segment.")
    to_notify: int = strawberry.field(description="Those who would be told now.")
    already_notified_today: int = strawberry.field(
        description="Told of it on this day of theirs already."
    )
    over_daily_cap: int = strawberry.field(
        description="Have had their notices for today, or nearer promos take what room is left."
    )
    in_quiet_hours: int = strawberry.field(description="Told later, if it still runs then.")
    opted_out: int = strawberry.field(description="Want no promos.")

    @classmethod
    def of(cls, row: AudienceRow) -> Self:
        return cls(
            matched=row.matched,
            to_notify=row.to_notify,
            already_notified_today=row.already_notified_today,
            over_daily_cap=row.over_daily_cap,
            in_quiet_hours=row.in_quiet_hours,
            opted_out=row.opted_out,
        )


@strawberry.type(description="What has come of a promo so far.")
class PromoStats:
    notified: int = strawberry.field(description="Notices that were sent of it.")
    held: int = strawberry.field(description="Holds that are open now.")
    confirmed: int = strawberry.field(description="Holds that were bought.")
    expired: int = strawberry.field(description="Holds whose time ran out.")
    cancelled: int = strawberry.field(description="Holds that were given back.")
    denied: int = strawberry.field(description="Requests that its admission refused.")

    @classmethod
    def of(cls, row: queries.PromoStatsRow) -> Self:
        return cls(
            notified=row.notified,
            held=row.held,
            confirmed=row.confirmed,
            expired=row.expired,
            cancelled=row.cancelled,
            denied=row.denied,
        )


def price_credits(price: Decimal, credits_per_unit: Decimal) -> Decimal:
    """Credits for a price in money, rounded half up to two digits."""
    return (price * credits_per_unit).quantize(queries.CENT, rounding=ROUND_HALF_UP)


async def eligibility_by_promo(
    reader: Reader, promo_ids: Sequence[int], *, user_id: UUID, clock: Clock
) -> dict[int, Eligibility]:
    """For `load`, which batches by equal arguments: a clock is equal to itself, two moments
    are not."""
    return await eligibility_of_promos(reader, promo_ids, user_id=user_id, now=clock())


async def audience_by_promo(
    reader: Reader, promo_ids: Sequence[int], *, clock: Clock
) -> dict[int, AudienceRow]:
    return await audience(reader, promo_ids, clock())


@strawberry.type(description="A part of a store's stock, offered for a while to people near by.")
class Promo(Node):
    starts_at: datetime = strawberry.field(description="When it goes live; this instant included.")
    ends_at: datetime = strawberry.field(description="When it ends; this instant included.")
    status: PromoStatus = strawberry.field(description="Where it is in its life.")  # type: ignore[valid-type]
    segments: list[Segment] = strawberry.field(
        description="Whom it is for; an empty list: for everybody."
    )
    radius_meters: float = strawberry.field(description="How far from the store it reaches.")
    discount_percent: float = strawberry.field(description="0 to 100, off the base price.")
    quota: int | None = strawberry.field(
        description="Units set aside for the promo; null: the whole stock."
    )
    remaining: int = strawberry.field(description="Units that can be reserved now.")
    max_per_user: int | None = strawberry.field(
        description="Units that a person may hold and buy altogether; null: no limit."
    )
    hold_seconds: int = strawberry.field(description="How long a hold keeps its units.")
    enforce_audience: bool = strawberry.field(
        description="Whether reserve also checks segment and distance; off by default, the "
        "audience then only rules notices and listing."
    )
    admission_policy: AdmissionPolicy = strawberry.field(description="Who may hold at once.")
    row: strawberry.Private[queries.PromoRow]

    @classmethod
    def of(cls, row: queries.PromoRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("Promo", row.id)),
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            status=PromoStatusName(row.status),
            segments=[Segment(segment) for segment in row.segments],
            radius_meters=row.radius_m,
            discount_percent=float(row.discount_percent),
            quota=row.quota,
            remaining=queries.remaining(row),
            max_per_user=row.max_per_user,
            hold_seconds=row.hold_seconds,
            enforce_audience=row.enforce_audience,
            admission_policy=AdmissionPolicy(
                mode=AdmissionModeName(row.admission_mode),
                admit_above=row.admit_above,
                deny_below=row.deny_below,
            ),
            row=row,
        )

    @link(description="The stock that it sells from.")
    async def store_product(self, info: Info) -> StoreProduct:
        row = await load(info.context, store_products_by_id, self.row.store_product_id)
        if row is None:
            raise LookupError(f"promo {self.row.id} has no stock row")
        return StoreProduct.of(row)

    @link(description="Price of a unit after the discount.")
    def price(self, info: Info) -> Money:
        return Money(amount=self._price(), currency=info.context.policy.currency)

    @link(description="The same in credits.")
    def price_credits(self, info: Info) -> Decimal:
        return price_credits(self._price(), info.context.policy.credits_per_unit)

    def _price(self) -> Decimal:
        return queries.price(self.row.base_price, self.row.discount_percent)

    @link(
        description="For the caller: why the promo is or is not open to them.",
        personal=True,
    )
    async def eligibility(self, info: Info) -> PromoEligibility:
        context = info.context
        viewer = await context.required_viewer()
        clock = context.services.clock
        found = await load(
            context, eligibility_by_promo, self.row.id, user_id=viewer.id, clock=clock
        )
        if found is None:
            raise LookupError(f"promo {self.row.id} is gone")
        return PromoEligibility.of(found)

    @query(
        access=Role.MERCHANT,
        description="Dry run of the next notification round; for the owner of the store and ADMIN.",
        cost=AUDIENCE_COST,
    )
    async def audience(self, info: Info) -> PromoAudience:
        context = info.context
        await require_owner(context, self.row)
        clock = context.services.clock
        found = await load(context, audience_by_promo, self.row.id, clock=clock)
        return PromoAudience.of(found or AudienceRow())

    @query(
        access=Role.MERCHANT,
        description="What has come of it so far; for the owner of the store and ADMIN.",
    )
    async def stats(self, info: Info) -> PromoStats:
        await require_owner(info.context, self.row)
        found = await load(info.context, queries.promo_stats, self.row.id)
        return PromoStats.of(found or queries.PromoStatsRow())

    @link(description="People who wait for a unit to come free.")
    async def waitlist_length(self, info: Info) -> int:
        return await load(info.context, queries.waitlist_lengths, self.row.id) or 0

    @query(
        access=Role.MERCHANT,
        description="The scores behind its admissions, newest first, with their reasons; for the "
        "owner of the store and ADMIN. They are not in the attendee's own history.",
    )
    async def admissions(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection[Prediction]:
        await require_owner(info.context, self.row)
        page = page_request(first, after, (datetime, UUID))
        rows = await load(
            info.context, admissions_of_promos, self.row.id, after=page.after, limit=page.limit
        )

        async def count() -> int:
            return await load(info.context, admission_counts, self.row.id) or 0

        return connection(
            page, rows or (), lambda row: (row.created_at, row.id), Prediction.of, count
        )


async def require_owner(context: Context, row: queries.PromoRow) -> None:
    """Raises Forbidden unless the caller owns the promo's store or is ADMIN."""
    viewer = await context.required_viewer()
    if viewer.role is not Role.ADMIN and viewer.id != row.owner_id:
        raise Forbidden
