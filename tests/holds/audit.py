"""The audit that runs after every race: each counter is the sum of the rows it counts."""

from typing import Any

from sqlalchemy import text

from db.session import Database

DISAGREEMENTS = text("""
    SELECT 'held of stock ' || stock.id AS what, stock.held AS counted,
           coalesce(sum(holds.quantity) FILTER (WHERE holds.status = 'HELD'), 0) AS summed
    FROM store_products stock LEFT JOIN reservations holds ON holds.store_product_id = stock.id
    GROUP BY stock.id, stock.held
    HAVING stock.held
        <> coalesce(sum(holds.quantity) FILTER (WHERE holds.status = 'HELD'), 0)
    UNION ALL
    SELECT 'taken of promo ' || promo.id, promo.taken,
           coalesce(sum(holds.quantity) FILTER (WHERE holds.status IN ('HELD', 'CONFIRMED')), 0)
    FROM flash_promos promo LEFT JOIN reservations holds ON holds.promo_id = promo.id
    GROUP BY promo.id, promo.taken
    HAVING promo.taken <> coalesce(
        sum(holds.quantity) FILTER (WHERE holds.status IN ('HELD', 'CONFIRMED')), 0
    )
    UNION ALL
    SELECT 'taken by ' || counts.user_id || ' of promo ' || counts.promo_id, counts.taken,
           coalesce(sum(holds.quantity) FILTER (WHERE holds.status IN ('HELD', 'CONFIRMED')), 0)
    FROM promo_user_counts counts
    LEFT JOIN reservations holds
           ON holds.promo_id = counts.promo_id AND holds.user_id = counts.user_id
    GROUP BY counts.promo_id, counts.user_id, counts.taken
    HAVING counts.taken <> coalesce(
        sum(holds.quantity) FILTER (WHERE holds.status IN ('HELD', 'CONFIRMED')), 0
    )
""")


async def audit(database: Database) -> None:
    async with database.read() as reader:
        rows = (await reader.execute(DISAGREEMENTS)).all()
    assert rows == []


async def counters(database: Database, promo_id: int) -> dict[str, Any]:
    async with database.read() as reader:
        row = (
            await reader.execute(
                text(
                    "SELECT stock.on_hand, stock.held, promo.taken FROM flash_promos promo"
                    " JOIN store_products stock ON stock.id = promo.store_product_id"
                    " WHERE promo.id = :id"
                ),
                {"id": promo_id},
            )
        ).one()
    return dict(row._mapping)
