"""Whether promos are open to people, and why not: facts by SQL, the decision in plain Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Select, Uuid, any_, bindparam, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY

from db.models import Profile, Promo, PromoUserCount, StoreProduct, User
from db.models.promos import PromoStatus, Segment
from db.queries.segments import is_frequent, is_new
from db.session import Reader


class IneligibleReason(StrEnum):
    NOT_ACTIVE = "NOT_ACTIVE"
    OUTSIDE_SCHEDULE = "OUTSIDE_SCHEDULE"
    NO_PROFILE = "NO_PROFILE"
    NO_LOCATION = "NO_LOCATION"
    TOO_FAR = "TOO_FAR"
    WRONG_SEGMENT = "WRONG_SEGMENT"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    LIMIT_REACHED = "LIMIT_REACHED"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision about one promo and one person rests on.

    `distance_meters` is NULL without a location, and `within_radius` with it. `segments` are the
    promo's; none means that it is for everybody. `taken` are units that the person holds or bought.
    """

    status: str
    starts_at: datetime
    ends_at: datetime
    segments: Sequence[str]
    has_profile: bool
    distance_meters: float | None
    within_radius: bool | None
    is_new: bool
    is_frequent: bool
    remaining: int
    max_per_user: int | None
    taken: int


@dataclass(frozen=True, slots=True)
class Eligibility:
    """`reasons` are names of IneligibleReason, in its order; distance along the spheroid."""

    reasons: tuple[str, ...]
    distance_meters: float | None

    @property
    def eligible(self) -> bool:
        return not self.reasons


def reasons(facts: Facts, now: datetime) -> tuple[str, ...]:
    """Everything that keeps the person from the promo at this moment."""
    own = {Segment.NEW: facts.is_new, Segment.FREQUENT: facts.is_frequent}
    limit = facts.max_per_user
    found = {
        IneligibleReason.NOT_ACTIVE: facts.status != PromoStatus.ACTIVE,
        IneligibleReason.OUTSIDE_SCHEDULE: not facts.starts_at <= now <= facts.ends_at,
        IneligibleReason.NO_PROFILE: not facts.has_profile,
        IneligibleReason.NO_LOCATION: facts.has_profile and facts.distance_meters is None,
        IneligibleReason.TOO_FAR: facts.within_radius is False,
        IneligibleReason.WRONG_SEGMENT: bool(facts.segments)
        and not any(own[Segment(segment)] for segment in facts.segments),
        IneligibleReason.OUT_OF_STOCK: facts.remaining <= 0,
        IneligibleReason.LIMIT_REACHED: limit is not None and facts.taken >= limit,
    }
    return tuple(reason.value for reason, holds in found.items() if holds)


async def eligibility_of_promos(
    reader: Reader, promo_ids: Sequence[int], *, user_id: UUID, now: datetime
) -> dict[int, Eligibility]:
    """By promo, for one person; what does not exist is left out."""
    asked = {"promo_ids": promo_ids, "user_ids": [user_id], "now": now}
    rows = await reader.execute(FACTS, asked)
    return {row.promo_id: _decided(row, now) for row in rows}


async def eligibility_of_users(
    reader: Reader, user_ids: Sequence[UUID], *, promo_id: int, now: datetime
) -> dict[UUID, Eligibility]:
    """By person, for one promo; who does not exist is left out."""
    asked = {"promo_ids": [promo_id], "user_ids": user_ids, "now": now}
    rows = await reader.execute(FACTS, asked)
    return {row.user_id: _decided(row, now) for row in rows}


def _decided(row: Any, now: datetime) -> Eligibility:
    facts = Facts(*row[2:])
    return Eligibility(reasons(facts, now), facts.distance_meters)


def _facts() -> Select[Any]:
    """(promo_id, user_id, *Facts) of every pair of promo_ids and user_ids."""
    now = bindparam("now", type_=DateTime(timezone=True))
    people = (
        select(
            User.id,
            Profile.user_id.is_not(None).label("has_profile"),
            Profile.geom,
            is_new(now).label("is_new"),
            is_frequent(now).label("is_frequent"),
        )
        .outerjoin(Profile, Profile.user_id == User.id)
        .where(User.id == any_(bindparam("user_ids", type_=ARRAY(Uuid))))
        # Materialised: a person's purchases are looked up once, not once a promo.
        .cte("people")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    left = StoreProduct.on_hand - StoreProduct.held
    return (
        select(
            Promo.id.label("promo_id"),
            people.c.id.label("user_id"),
            Promo.status,
            Promo.starts_at,
            Promo.ends_at,
            Promo.segments,
            people.c.has_profile,
            func.ST_Distance(Promo.geom, people.c.geom),
            func.ST_DWithin(Promo.geom, people.c.geom, Promo.radius_m),
            people.c.is_new,
            people.c.is_frequent,
            func.least(left, Promo.quota - Promo.taken),
            Promo.max_per_user,
            func.coalesce(PromoUserCount.taken, 0),
        )
        .join(StoreProduct, StoreProduct.id == Promo.store_product_id)
        .join(people, true())
        .outerjoin(
            PromoUserCount,
            (PromoUserCount.promo_id == Promo.id) & (PromoUserCount.user_id == people.c.id),
        )
        .where(Promo.id == any_(bindparam("promo_ids", type_=ARRAY(BigInteger))))
    )


FACTS = _facts()
"""Built once: building it takes longer than PostgreSQL takes to answer it."""
