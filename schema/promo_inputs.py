"""What operations on promos take and return."""

from datetime import datetime

import strawberry

from schema.accounts import Segment
from schema.catalogue import PromoStatus
from schema.edge.user_errors import MutationPayload
from schema.promos import AdmissionMode, Promo


@strawberry.input(description="Which promos to list; omitted or null: whatever.")
class PromoFilter:
    store_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Of this store."
    )
    status: PromoStatus | None = strawberry.field(  # type: ignore[valid-type]
        default=strawberry.UNSET, description="In this state."
    )
    starts_after: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Starting at this instant or later."
    )
    starts_before: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Starting before this instant."
    )


@strawberry.input(description="Who may hold at once; replaces the whole policy.")
class AdmissionPolicyInput:
    mode: AdmissionMode = strawberry.field(description="Whether people are scored.")  # type: ignore[valid-type]
    admit_above: float = strawberry.field(
        default=0.5, description="Least probability that is held at once, 0 to 1."
    )
    deny_below: float = strawberry.field(
        default=0, description="Probabilities below are refused; 0 to admitAbove, 0: none is."
    )


@strawberry.input(
    description="Create needs storeProductId, startsAt, endsAt. Server defaults: both segments, "
    "radius 2000 m, hold 60 s, discount 0, admission OPEN. Update: omitted is unchanged."
)
class PromoInput:
    store_product_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The stock to sell from; can't be changed later."
    )
    starts_at: datetime | None = strawberry.field(
        default=strawberry.UNSET,
        description="When it goes live; can't be changed once it has. May be in the past: live at "
        "once.",
    )
    ends_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="When it ends: after startsAt, not in the past."
    )
    segments: list[Segment] | None = strawberry.field(
        default=strawberry.UNSET, description="Whom it is for; an empty list: for everybody."
    )
    radius_meters: float | None = strawberry.field(
        default=strawberry.UNSET, description="50 to 50,000."
    )
    discount_percent: float | None = strawberry.field(
        default=strawberry.UNSET, description="0 to 100, 2 fraction digits at most."
    )
    quota: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="1 or more, and not fewer than are held or sold; null: the whole stock.",
    )
    max_per_user: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="1 or more; null: no limit. Who has more already keeps it.",
    )
    hold_seconds: int | None = strawberry.field(
        default=strawberry.UNSET, description="1 to 86,400; holds that are open keep their time."
    )
    enforce_audience: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="Whether reserve also checks segment and distance.",
    )
    admission_policy: AdmissionPolicyInput | None = strawberry.field(
        default=strawberry.UNSET, description="Who may hold at once."
    )


@strawberry.type(description="The promo after the change.")
class PromoPayload(MutationPayload):
    promo: Promo | None = strawberry.field(default=None, description="The promo.")
