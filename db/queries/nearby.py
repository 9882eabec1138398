"""Active promos, nearest first, from the one index that holds both their points and their status.

`flash_promos_active_near_idx` finds neighbours in the order of their distance on a sphere; people
are told distances on the spheroid, which differ by up to half a percent. The first `limit`
neighbours therefore only say how far the page can reach: so many promos lie within the farthest of
them, hence the page does too. What lies within is read from the same index and ordered exactly, by
(distance, id): promos of one store share a point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    ColumnElement,
    CompoundSelect,
    DateTime,
    Double,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.orm import aliased
from sqlalchemy.sql.selectable import LateralFromClause

from db.models import Profile, Promo, PromoUserCount, StoreProduct, User
from db.models.promos import LARGEST_RADIUS_METERS, PromoStatus, Segment
from db.queries.promos import PromoRow, promos
from db.queries.segments import is_frequent, is_new
from db.session import Reader

Key = tuple[float, int]
"""(distance in meters, id): where a promo stands. The distance is 0.0 without a location."""

SLACK_METERS = 0.001
"""ST_Distance rounds what it returns; ST_DWithin compares what it has not rounded."""

NOW = bindparam("now", type_=DateTime(timezone=True))
LIMIT = bindparam("limit", type_=Integer())
AFTER: tuple[BindParameter[float], BindParameter[int]] = (
    bindparam("after_distance", type_=Double()),
    bindparam("after_id", type_=BigInteger()),
)

Promos = type[Promo]
Conditions = Callable[[Promos], list[ColumnElement[bool]]]


@dataclass(frozen=True, slots=True)
class NearPromo:
    """`distance_meters` along the spheroid; 0.0 if nobody knows where the person is."""

    promo: PromoRow
    distance_meters: float


async def eligible_near(
    reader: Reader, user_id: UUID, *, now: datetime, after: Key | None, limit: int
) -> list[NearPromo]:
    """The promos that are open to this person; none without a location."""
    return await _read(reader, eligible_page(after is not None), user_id, now, after, limit)


async def active_near(
    reader: Reader, user_id: UUID, *, now: datetime, after: Key | None, limit: int
) -> list[NearPromo]:
    """Every ACTIVE promo, open to this person or not; in the order of ids without a location."""
    return await _read(reader, _active_page(after is not None), user_id, now, after, limit)


async def count_eligible(reader: Reader, user_id: UUID, *, now: datetime) -> int:
    me = _me()
    statement = (
        select(func.count(Promo.id))
        .join(me, true())
        .where(*_open_to(me, Promo), _in_reach(me, Promo))
    )
    asked = {"user_id": user_id, "now": now}
    count: int = (await reader.execute(statement, asked)).scalar_one()
    return count


async def count_active(reader: Reader) -> int:
    statement = select(func.count(Promo.id)).where(*_active(Promo))
    count: int = (await reader.execute(statement)).scalar_one()
    return count


async def _read(
    reader: Reader,
    statement: Select[Any],
    user_id: UUID,
    now: datetime,
    after: Key | None,
    limit: int,
) -> list[NearPromo]:
    asked = {"user_id": user_id, "now": now, "limit": limit}
    behind = {"after_distance": after[0], "after_id": after[1]} if after else {}
    rows = await reader.execute(statement, asked | behind)
    return [NearPromo(PromoRow(*row[:-1]), row[-1]) for row in rows]


@cache
def eligible_page(behind: bool) -> Select[Any]:
    """Built once, as the next one: building it takes longer than PostgreSQL takes to answer it.

    Parameters: user_id, now, limit and, with `behind`, after_distance and after_id.
    """
    me = _me()
    return _with_promos(_of(me, _nearest(me, partial(_open_to, me), behind, bounded=True)))


@cache
def _active_page(behind: bool) -> Select[Any]:
    me = _me()
    nearest, first = _nearest(me, _active, behind, bounded=False), _first_by_id(me, behind)
    return _with_promos(union_all(_of(me, nearest), _of(me, first)))


def _with_promos(page: Select[Any] | CompoundSelect[Any]) -> Select[Any]:
    """The columns of a PromoRow and the distance, for (id, distance) of a page."""
    found = page.subquery("page")
    statement = promos().join(found, found.c.id == Promo.id).add_columns(found.c.distance)
    return statement.order_by(found.c.distance, found.c.id)


def _of(me: CTE, page: LateralFromClause) -> Select[Any]:
    return select(page.c.id, page.c.distance).join_from(me, page, true())


def _me() -> CTE:
    """The person, once: place and segments are not looked up again for every promo."""
    return (
        select(
            User.id,
            Profile.geom,
            is_new(NOW).label("is_new"),
            is_frequent(NOW).label("is_frequent"),
        )
        .outerjoin(Profile, Profile.user_id == User.id)
        .where(User.id == bindparam("user_id", type_=Uuid()))
        .cte("me")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )


def _active(promo: Promos) -> list[ColumnElement[bool]]:
    # Written out: with a parameter, a prepared plan could not use an index of active promos only.
    return [promo.status == literal_column(f"'{PromoStatus.ACTIVE}'", Text)]


def _open_to(me: CTE, promo: Promos) -> list[ColumnElement[bool]]:
    """What db/queries/eligibility.py decides, as SQL. Stock and limit are looked up by subqueries
    and not by joins, which could take the planner away from the order of the index."""
    in_stock = (
        select(StoreProduct.on_hand > StoreProduct.held)
        .where(StoreProduct.id == promo.store_product_id)
        .correlate(promo)
        .scalar_subquery()
    )
    at_limit = (
        select(PromoUserCount.taken >= promo.max_per_user)
        .where(PromoUserCount.promo_id == promo.id, PromoUserCount.user_id == me.c.id)
        .correlate(promo, me)
        .scalar_subquery()
    )
    return [
        *_active(promo),
        promo.starts_at <= NOW,
        promo.ends_at >= NOW,
        or_(
            func.cardinality(promo.segments) == 0,
            and_(me.c.is_new, promo.segments.any_() == Segment.NEW),
            and_(me.c.is_frequent, promo.segments.any_() == Segment.FREQUENT),
        ),
        func.coalesce(promo.quota > promo.taken, True),
        in_stock,
        ~func.coalesce(at_limit, False),
        func.ST_DWithin(promo.geom, me.c.geom, promo.radius_m),
    ]


def _in_reach(me: CTE, promo: Promos) -> ColumnElement[bool]:
    """A constant bounds a search in the index; the promo's own radius can't."""
    return func.ST_DWithin(promo.geom, me.c.geom, literal(LARGEST_RADIUS_METERS, Double))


def _nearest(me: CTE, conditions: Conditions, behind: bool, *, bounded: bool) -> LateralFromClause:
    """(id, distance) of the nearest ones. `bounded`: as far as any promo reaches."""
    first = aliased(Promo, name="first")
    bounds = [_in_reach(me, first)] if bounded else []
    neighbours = (
        select(_distance(first, me).label("distance"))
        .where(*conditions(first), *_behind(first, me, behind), *bounds)
        .order_by(first.geom.op("<->")(me.c.geom))
        .limit(LIMIT)
        .correlate(me)
        .subquery("neighbours")
    )
    reach = select(func.max(neighbours.c.distance) + SLACK_METERS).scalar_subquery()
    near = aliased(Promo, name="near")
    distance = _distance(near, me)
    return (
        select(near.id, distance.label("distance"))
        .where(
            *conditions(near),
            *_behind(near, me, behind),
            func.ST_DWithin(near.geom, me.c.geom, reach),
        )
        .order_by(distance, near.id)
        .limit(LIMIT)
        .correlate(me)
        .lateral("nearest")
    )


def _first_by_id(me: CTE, behind: bool) -> LateralFromClause:
    """The same for a person who is nowhere."""
    later = [Promo.id > AFTER[1]] if behind else []
    return (
        select(Promo.id, literal(0.0, Double).label("distance"))
        .where(*_active(Promo), *later, me.c.geom.is_(None))
        .order_by(Promo.id)
        .limit(LIMIT)
        .correlate(me)
        .lateral("by_id")
    )


def _distance(promo: Promos, me: CTE) -> ColumnElement[float]:
    return func.ST_Distance(promo.geom, me.c.geom, type_=Double())


def _behind(promo: Promos, me: CTE, behind: bool) -> list[ColumnElement[bool]]:
    return [tuple_(_distance(promo, me), promo.id) > tuple_(*AFTER)] if behind else []
