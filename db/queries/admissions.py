"""What the server knows of somebody who asks for units, and what was decided before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, tuple_

from db.models import Prediction
from db.session import Reader


@dataclass(frozen=True, slots=True)
class Applicant:
    """The promo's admission and the facts about one person, in one read.

    `answered`: there is an open hold or an earlier answer to this request already. `score_id` and
    `probability` are the score that the person has here: it stands, or a client could try claims
    about itself until one of them passes; `decision` is what it last came to. Figures are None
    where there is nothing to take them from.
    """

    mode: str
    running: bool
    decision: str | None
    score_id: UUID | None
    probability: float | None
    admit_above: float
    deny_below: float
    answered: bool
    email: str | None
    account_age_days: int
    purchases_last_12_months: int
    canceled_orders: int
    tickets_per_order_avg: float | None
    night_purchase_ratio: float | None
    distance_meters: float | None


APPLICANT = text("""
    SELECT promo.admission_mode,
           promo.status = 'ACTIVE'
               AND clock_timestamp() BETWEEN promo.starts_at AND promo.ends_at,
           scored.decision, scored.id,
           CAST(scored.output ->> 'attendance_probability' AS float),
           promo.admit_above, promo.deny_below,
           EXISTS (
               SELECT FROM reservations open_hold
               WHERE open_hold.promo_id = promo.id AND open_hold.user_id = users.id
                 AND open_hold.status = 'HELD' AND open_hold.expires_at > clock_timestamp()
           ) OR EXISTS (
               SELECT FROM idempotency_keys keys
               WHERE keys.user_id = users.id AND keys.operation = :operation AND keys.key = :key
           ) AS answered,
           users.email,
           greatest(0, extract(day FROM CAST(:now AS timestamptz) - users.created_at))::int,
           orders.lately, orders.cancelled, orders.units, orders.at_night,
           ST_Distance(profiles.geom, promo.geom)
    FROM flash_promos promo
    CROSS JOIN users
    LEFT JOIN profiles ON profiles.user_id = users.id
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (
                   WHERE status = 'CONFIRMED'
                     AND closed_at > CAST(:now AS timestamptz) - interval '12 months'
               ) AS lately,
               -- not those that a merchant took back by cancelling the promo
               count(*) FILTER (WHERE status = 'CANCELLED' AND EXISTS (
                   SELECT FROM flash_promos theirs
                   WHERE theirs.id = reservations.promo_id AND theirs.status <> 'CANCELLED'
               )) AS cancelled,
               CAST(avg(quantity) FILTER (WHERE status = 'CONFIRMED') AS float) AS units,
               CAST(avg(CASE WHEN extract(hour FROM created_at AT TIME ZONE profiles.time_zone) < 6
                             THEN 1 ELSE 0 END) FILTER (WHERE status = 'CONFIRMED') AS float
               ) AS at_night
        FROM reservations WHERE reservations.user_id = users.id
    ) orders
    LEFT JOIN LATERAL (
        SELECT predictions.id, predictions.decision, predictions.output FROM predictions
        WHERE predictions.user_id = users.id AND predictions.promo_id = promo.id
        ORDER BY predictions.created_at DESC, predictions.id DESC LIMIT 1
    ) scored ON true
    WHERE promo.id = :promo_id AND users.id = :user_id
""")


async def applicant(
    reader: Reader,
    promo_id: int,
    user_id: UUID,
    *,
    operation: str,
    key: str | None,
    now: datetime,
) -> Applicant | None:
    """None if there is no such promo."""
    values = {
        "promo_id": promo_id,
        "user_id": user_id,
        "operation": operation,
        "key": key,
        "now": now,
    }
    row = (await reader.execute(APPLICANT, values)).one_or_none()
    return None if row is None else Applicant(*row)


@dataclass(frozen=True, slots=True)
class PredictionRow:
    id: UUID
    user_id: UUID
    kind: str
    status: str
    model_id: int
    version: str
    input: dict[str, Any]
    output: dict[str, Any] | None
    explain: list[Any] | None
    is_mock: bool
    decision: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


PREDICTION = (
    Prediction.id,
    Prediction.user_id,
    Prediction.kind,
    Prediction.status,
    Prediction.model_id,
    Prediction.version,
    Prediction.input,
    Prediction.output,
    Prediction.explain,
    Prediction.is_mock,
    Prediction.decision,
    Prediction.error,
    Prediction.created_at,
    Prediction.finished_at,
)


async def admissions_of_promos(
    reader: Reader,
    promo_ids: Sequence[int],
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> dict[int, list[PredictionRow]]:
    """A page of each promo's admissions, newest first."""
    place = func.row_number().over(
        partition_by=Prediction.promo_id,
        order_by=(Prediction.created_at.desc(), Prediction.id.desc()),
    )
    chosen = select(*PREDICTION, Prediction.promo_id, place.label("place")).where(
        Prediction.promo_id.in_(promo_ids)
    )
    if after is not None:
        chosen = chosen.where(tuple_(Prediction.created_at, Prediction.id) < after)
    pages = chosen.subquery()
    rows = await reader.execute(
        select(pages).where(pages.c.place <= limit).order_by(pages.c.promo_id, pages.c.place)
    )
    found: dict[int, list[PredictionRow]] = {promo_id: [] for promo_id in promo_ids}
    for row in rows:
        found[row.promo_id].append(PredictionRow(*row[: len(PREDICTION)]))
    return found


async def admission_counts(reader: Reader, promo_ids: Sequence[int]) -> dict[int, int]:
    rows = await reader.execute(
        select(Prediction.promo_id, func.count())
        .where(Prediction.promo_id.in_(promo_ids))
        .group_by(Prediction.promo_id)
    )
    return {promo_id: count for promo_id, count in rows if promo_id is not None}
