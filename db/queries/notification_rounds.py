"""Who is told of which promo: the conditions of a round, written once.

The round, the insertion of a batch and the dry run (`Promo.audience`) are made of the same
fragments, so they can't drift apart. A person is told of a promo if

- it runs and has units left, they are within its radius and in one of its segments,
- they want promos, it is not in their quiet hours, and their day leaves room under the cap,
- they were not told of it on this day of theirs, and
- of the promos that all this holds for, it is among the nearest that the room is enough for (of
  two as near, the one that ends first).

The last one is a preference, not a promise: only a round looks at it, an insertion doesn't.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    Select,
    Text,
    Time,
    Tuple,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import aliased

from db.models import Notification, NotificationDay, Profile, Promo, StoreProduct, User
from db.models.notifications import NotificationKind
from db.models.promos import PromoStatus, Segment
from db.queries.segments import Moment, is_frequent, is_new
from db.session import Reader

Condition = ColumnElement[bool]

NOW = bindparam("now", type_=DateTime(timezone=True))
PROMO_ID = bindparam("promo_id", type_=BigInteger())
USER_IDS = bindparam("user_ids", type_=ARRAY(Uuid))
"""Parameters of the statements that are built once, those of a batch: building one takes longer
than PostgreSQL takes to carry it out."""

# Written out: with a parameter, a prepared plan could not use the indexes of such rows only.
ACTIVE = literal_column(f"'{PromoStatus.ACTIVE}'", Text)
OF_PROMO = literal_column(f"'{NotificationKind.PROMO}'", Text)


def today(now: Moment) -> ColumnElement[Any]:
    """The person's own date."""
    return cast(func.timezone(Profile.time_zone, now), Date)


def in_quiet_hours(now: Moment) -> Condition:
    """From `quiet_from` until just before `quiet_to`, past midnight if need be. Never NULL."""
    clock = cast(func.timezone(Profile.time_zone, now), Time)
    begun, not_over = clock >= Profile.quiet_from, clock < Profile.quiet_to
    past_midnight = Profile.quiet_from > Profile.quiet_to
    within = case((past_midnight, or_(begun, not_over)), else_=and_(begun, not_over))
    return func.coalesce(within, False)


def sent_today(now: Moment) -> ColumnElement[int]:
    """Notices of the person's day that count against the cap.

    A day counts on until the person's date has passed it: who flies west, or is served by a worker
    whose clock is a little ahead, gets no second allowance.
    """
    return case((NotificationDay.day >= today(now), NotificationDay.sent), else_=0)


def room(now: Moment) -> ColumnElement[int]:
    """How many more may be sent to the person today; none if not above 0."""
    return Profile.daily_cap - sent_today(now)


def open_to_promos(now: Moment, *, already_counted: int = 0) -> Condition:
    """Whether the person may be told of any promo at this moment. `already_counted`: notices that
    their day counts although they are still to be decided on."""
    return and_(wants_promos(now), room(now) + already_counted > 0)


def wants_promos(now: Moment) -> Condition:
    return and_(Profile.promos_enabled, ~in_quiet_hours(now))


def people(now: Moment) -> Select[Any]:
    """What the conditions ask about people who are somewhere."""
    return (
        select(
            Profile.user_id,
            Profile.geom,
            Profile.time_zone,
            Profile.daily_cap,
            today(now).label("today"),
            room(now).label("room"),
            is_new(now).label("is_new"),
            is_frequent(now).label("is_frequent"),
        )
        .join(User, User.id == Profile.user_id)
        .outerjoin(NotificationDay, NotificationDay.user_id == Profile.user_id)
        .where(Profile.geom.is_not(None))
    )


def once(statement: Select[Any], name: str) -> CTE:
    """Materialised: a person's purchases are looked up once, not once a promo."""
    return statement.cte(name).prefix_with("MATERIALIZED", dialect="postgresql")


def units_left(promo: type[Promo]) -> ColumnElement[int]:
    """As a scalar subquery: a join could cost the scan of promos its order by distance."""
    stock = (
        select(StoreProduct.on_hand - StoreProduct.held)
        .where(StoreProduct.id == promo.store_product_id)
        .correlate(promo)
        .scalar_subquery()
    )
    return func.least(stock, promo.quota - promo.taken)


def running(promo: type[Promo], now: Moment) -> Condition:
    """Both ends of the schedule belong to it."""
    return and_(
        promo.status == ACTIVE,
        promo.starts_at <= now,
        promo.ends_at >= now,
        units_left(promo) > 0,
    )


def reaches(promo: type[Promo], person: Any) -> Condition:
    """By place and segment; a promo without segments is for everybody."""
    return and_(
        func.ST_DWithin(promo.geom, person.geom, promo.radius_m),
        or_(
            func.cardinality(promo.segments) == 0,
            and_(literal(Segment.NEW.value) == any_(promo.segments), person.is_new),
            and_(literal(Segment.FREQUENT.value) == any_(promo.segments), person.is_frequent),
        ),
    )


def told(promo: type[Promo], person: Any) -> Condition:
    return (
        select(Notification.id)
        .where(
            Notification.promo_id == promo.id,
            Notification.user_id == person.user_id,
            Notification.sent_date == person.today,
            Notification.kind == OF_PROMO,
        )
        .correlate_except(Notification)
        .exists()
    )


def distance(promo: type[Promo], person: Any) -> ColumnElement[float]:
    """What "nearest" goes by: the operator that the index on promos can sort by."""
    return promo.geom.op("<->", return_type=Promo.radius_m.type)(person.geom)


def rank(promo: type[Promo], person: Any) -> Tuple:
    """The smaller, the sooner the person is told of it."""
    return tuple_(distance(promo, person), promo.ends_at, promo.id)


def within_reach_of_any(promo: type[Promo], person: Any, now: datetime) -> Condition:
    """Bounds a search by distance: without it, who has no promo near by would see all of them."""
    any_promo = aliased(Promo)
    widest = select(func.max(any_promo.radius_m)).where(
        any_promo.status == ACTIVE, any_promo.ends_at >= now
    )
    return func.ST_DWithin(promo.geom, person.geom, widest.scalar_subquery())


def _nearest(person: CTE, now: datetime) -> Any:
    """For each of these people: ids of the promos to tell them of, as many as their room."""
    promo = aliased(Promo, name="candidate")
    here = person.c
    # The index gives the nearest first, and stops; ties are sorted afterwards, and there may be
    # many: all promos of a store are equally near.
    nearest = (
        select(promo.id, promo.ends_at, distance(promo, here).label("distance"))
        .where(
            running(promo, now),
            within_reach_of_any(promo, here, now),
            reaches(promo, here),
            ~told(promo, here),
        )
        .order_by(distance(promo, here))
        .fetch(here.room, with_ties=True)
        .correlate(person)
        .subquery("nearest")
    )
    best = nearest.c
    return (
        select(best.id.label("promo_id"))
        .order_by(best.distance, best.ends_at, best.id)
        .limit(here.room)
        .lateral("best")
    )


async def round_plan(reader: Reader, now: datetime) -> dict[int, list[str]]:
    """The next round: by promo, the ids of the people to tell of it, as text."""
    person = once(people(now).where(open_to_promos(now)), "person")
    best = _nearest(person, now)
    users = func.array_agg(cast(person.c.user_id, Text))
    statement = (
        select(best.c.promo_id, users)
        .select_from(person)
        .join(best, true())
        .group_by(best.c.promo_id)
    )
    return {row[0]: row[1] for row in await reader.execute(statement)}


async def people_to_tell(reader: Reader, promo_id: int, now: datetime) -> list[UUID]:
    """Of one promo, as the next round would: nearer promos come first where room is scarce."""
    near = func.ST_DWithin(Profile.geom, Promo.geom, Promo.radius_m)
    person = once(
        people(now).join(Promo, and_(Promo.id == promo_id, near)).where(open_to_promos(now)),
        "person",
    )
    best = _nearest(person, now)
    rows = await reader.execute(
        select(person.c.user_id)
        .select_from(person)
        .join(best, true())
        .where(best.c.promo_id == promo_id)
        .order_by(person.c.user_id)
    )
    return list(rows.scalars())


@cache
def turns_to_take() -> Select[Any]:
    """(user_id, day, 1, cap) of those among USER_IDS whose notice of PROMO_ID is worth deciding on
    at NOW. The conditions that are cheap: they say who has to wait, not who is told."""
    return (
        select(Profile.user_id, today(NOW), literal(1), Profile.daily_cap)
        .join(Promo, and_(Promo.id == PROMO_ID, running(Promo, NOW)))
        .where(
            Profile.user_id == any_(USER_IDS),
            Profile.geom.is_not(None),
            Profile.daily_cap > 0,
            wants_promos(NOW),
        )
    )


def tellable() -> Select[Any]:
    """Those among USER_IDS who may be told of PROMO_ID at NOW, their days counting it already: the
    columns of `people`, and how far it is to the promo. Whether they were told of it before, the
    unique key says to who inserts."""
    may_be = open_to_promos(NOW, already_counted=1)
    person = once(people(NOW).where(may_be, Profile.user_id == any_(USER_IDS)), "person")
    distance_m = func.ST_Distance(Promo.geom, person.c.geom).label("distance_m")
    of_promo = and_(Promo.id == PROMO_ID, running(Promo, NOW), reaches(Promo, person.c))
    return select(person, distance_m).select_from(person).join(Promo, of_promo)


def verdicts(promo_ids: Sequence[int], now: datetime) -> Select[Any]:
    """(promo, verdict, people) of those whom the promos reach; see `audience`."""
    promo = aliased(Promo, name="asked")
    could_run = and_(
        promo.id == any_(literal(list(promo_ids), ARRAY(Promo.id.type))),
        promo.status.in_([PromoStatus.ACTIVE, PromoStatus.SCHEDULED]),
        promo.ends_at >= now,
        units_left(promo) > 0,
    )
    near = func.ST_DWithin(Profile.geom, promo.geom, promo.radius_m)
    person = once(
        people(now)
        .add_columns(
            promo.id.label("promo_id"),
            (~Profile.promos_enabled).label("opted_out"),
            in_quiet_hours(now).label("quiet"),
        )
        .join(promo, and_(could_run, near)),
        "person",
    )
    here = person.c
    verdict = case(
        (told(promo, here), "already_notified_today"),
        (here.opted_out, "opted_out"),
        (here.room <= 0, "over_daily_cap"),
        (here.quiet, "in_quiet_hours"),
        (_preferred(promo, person, now) >= here.room, "over_daily_cap"),
        else_="to_notify",
    ).label("verdict")
    return (
        select(promo.id, verdict, func.count())
        .select_from(person)
        .join(promo, and_(promo.id == here.promo_id, reaches(promo, here)))
        .group_by(promo.id, verdict)
    )


def _preferred(promo: type[Promo], person: CTE, now: datetime) -> ColumnElement[int]:
    """How many promos the person would be told of rather; not counted beyond their room."""
    rival = aliased(Promo, name="rival")
    here = person.c
    rivals = (
        select(rival.id)
        .where(
            rival.id != promo.id,
            running(rival, now),
            within_reach_of_any(rival, here, now),
            reaches(rival, here),
            ~told(rival, here),
            rank(rival, here) < rank(promo, here),
        )
        .limit(here.room)
        .correlate(person, promo)
        .subquery("rivals")
    )
    return select(func.count()).select_from(rivals).scalar_subquery()
