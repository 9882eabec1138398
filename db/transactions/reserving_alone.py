"""A hold for a buyer who meets nobody, in one statement.

Most requests are alone at their promo. The general way (`reserving`) costs six round trips, which
64 buyers share and one does not. This one takes the same locks in the same order and leaves the
rules to the same constraints and triggers; whatever is not plain, it leaves to the general way.
"""

import secrets
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.models.holds import ReservationStatus
from db.models.predictions import AdmissionDecision
from db.queries.holds import HoldRow
from db.transactions.reserving import OPERATION, TOKEN_BYTES, HoldRequest

STATEMENT = text("""
    -- the clock is asked for each promo row, and so after the wait for its lock
    WITH promo AS MATERIALIZED (
        SELECT promo.id, promo.store_product_id, promo.hold_seconds,
               round(stock.base_price * (100 - promo.discount_percent) / 100, 2) AS unit_price
        FROM flash_promos promo JOIN store_products stock ON stock.id = promo.store_product_id
        WHERE promo.id = :promo_id AND promo.status = 'ACTIVE' AND NOT promo.enforce_audience
          AND (promo.admission_mode = 'OPEN' OR CAST(:score_id AS uuid) IS NOT NULL)
          AND stock.on_hand - stock.held >= :quantity
          AND (promo.quota IS NULL OR promo.quota - promo.taken >= :quantity)
        FOR NO KEY UPDATE OF promo, stock
    ), made AS (
        INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity,
                                  unit_price, created_at, expires_at, score_id)
        SELECT :token, promo.id, promo.store_product_id, CAST(:user_id AS uuid), :quantity,
               promo.unit_price, clock.now,
               clock.now + promo.hold_seconds * interval '1 second', CAST(:score_id AS uuid)
        FROM promo, LATERAL (SELECT clock_timestamp() AS now WHERE promo.id > 0) clock
        WHERE NOT EXISTS (
            SELECT FROM waitlist_entries
            WHERE promo_id = :promo_id AND user_id = CAST(:user_id AS uuid) AND status = 'WAITING'
        ) AND NOT EXISTS (
            SELECT FROM idempotency_keys
            WHERE user_id = CAST(:user_id AS uuid) AND operation = :operation
              AND key = CAST(:key AS text)
        )
        RETURNING id, store_product_id, unit_price, created_at, expires_at
    ), kept AS (
        INSERT INTO idempotency_keys (user_id, operation, key, request_hash, response_ref,
                                      created_at)
        SELECT CAST(:user_id AS uuid), :operation, CAST(:key AS text), :asked, made.id,
               CAST(:now AS timestamptz)
        FROM made WHERE CAST(:key AS text) IS NOT NULL
    )
    SELECT * FROM made
""")


async def reserve_alone(
    connection: AsyncConnection, promo_id: int, request: HoldRequest, now: datetime
) -> HoldRow | None:
    """The hold, or None where the answer needs a closer look; then nothing was done.

    Raises IntegrityError or DBAPIError where a rule of the database refuses: nothing was done.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    values = {
        "promo_id": promo_id,
        "user_id": request.user_id,
        "quantity": request.quantity,
        "token": token,
        "score_id": request.score_id,
        "operation": OPERATION,
        "key": request.key,
        "asked": request.asked,
        "now": now,
    }
    made = (await connection.execute(STATEMENT, values)).one_or_none()
    if made is None:
        return None
    return HoldRow(
        id=made.id,
        token=token,
        promo_id=promo_id,
        store_product_id=made.store_product_id,
        user_id=request.user_id,
        quantity=request.quantity,
        unit_price=made.unit_price,
        status=ReservationStatus.HELD,
        created_at=made.created_at,
        expires_at=made.expires_at,
        closed_at=None,
        admission=AdmissionDecision.ADMIT,
    )
