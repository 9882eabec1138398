"""Promos as merchants and people of these tests see them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update

from db.models import Promo, Reservation
from db.models.holds import ReservationStatus
from db.models.promos import PromoStatus
from db.session import Database
from tests.clients import Api
from tests.factories import right_now
from tests.market import Stock, make_promo

CREATE = """
mutation create($input: PromoInput!) {
  createPromo(input: $input) {
    promo {
      id status startsAt endsAt segments radiusMeters discountPercent quota maxPerUser holdSeconds
      enforceAudience remaining waitlistLength price { amount currency } priceCredits
      admissionPolicy { mode admitAbove denyBelow }
    }
    userErrors { code field message }
  }
}
"""
UPDATE = """
mutation change($id: ID!, $input: PromoInput!) {
  updatePromo(id: $id, input: $input) {
    promo { id status startsAt endsAt segments radiusMeters quota maxPerUser holdSeconds }
    userErrors { code field message }
  }
}
"""
CANCEL = """
mutation cancel($id: ID!) {
  cancelPromo(id: $id) { promo { id status } userErrors { code field message } }
}
"""


def hours(count: float) -> datetime:
    """So many hours from now."""
    return right_now() + timedelta(hours=count)


def offer(stock: Stock, **terms: Any) -> dict[str, Any]:
    """Input of a promo for the next hour."""
    return {
        "storeProductId": str(stock.id),
        "startsAt": right_now().isoformat(),
        "endsAt": hours(1).isoformat(),
        **terms,
    }


def problems(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """(code, path) of what is wrong."""
    return [(error["code"], ".".join(error["field"])) for error in payload["userErrors"]]


async def create(api: Api, **input: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await api(CREATE, input=input))["createPromo"]
    return answer


async def change(api: Api, promo_id: int, **input: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await api(UPDATE, id=str(promo_id), input=input))["updatePromo"]
    return answer


async def cancel(api: Api, promo_id: int) -> dict[str, Any]:
    answer: dict[str, Any] = (await api(CANCEL, id=str(promo_id)))["cancelPromo"]
    return answer


async def stored(database: Database, promo_id: int) -> Any:
    """The promo's row as it is in the table."""
    async with database.read() as reader:
        statement = text("SELECT * FROM flash_promos WHERE id = :id")
        return (await reader.execute(statement, {"id": promo_id})).one()


async def count_promos(database: Database) -> int:
    async with database.read() as reader:
        count: int = (await reader.execute(text("SELECT count(*) FROM flash_promos"))).scalar_one()
        return count


async def make_hold(
    database: Database,
    promo_id: int,
    user_id: UUID,
    *,
    quantity: int = 1,
    now: datetime | None = None,
) -> int:
    """An open hold of half a minute; its id."""
    at = now or right_now()
    async with database.transaction() as session:
        stock_id = await session.scalar(select(Promo.store_product_id).where(Promo.id == promo_id))
        made = await session.execute(
            insert(Reservation)
            .values(
                token=f"token-{promo_id}-{user_id}-{at.timestamp()}",
                promo_id=promo_id,
                store_product_id=stock_id,
                user_id=user_id,
                quantity=quantity,
                unit_price=1,
                created_at=at,
                expires_at=at + timedelta(seconds=30),
            )
            .returning(Reservation.id)
        )
        return made.scalar_one()


async def close_hold(
    database: Database,
    hold_id: int,
    status: ReservationStatus = ReservationStatus.CONFIRMED,
    at: datetime | None = None,
) -> None:
    async with database.transaction() as session:
        await session.execute(
            update(Reservation)
            .where(Reservation.id == hold_id)
            .values(status=status, closed_at=at or right_now())
        )


async def make_purchases(
    database: Database, user_id: UUID, *bought_at: datetime, promo_id: int | None = None
) -> None:
    """A confirmed purchase at each of these times, of a promo of its own."""
    promo = promo_id or await make_promo(database, units=len(bought_at))
    for at in bought_at:
        await close_hold(database, await make_hold(database, promo, user_id), at=at)


async def set_status(database: Database, promo_id: int, status: PromoStatus) -> None:
    async with database.transaction() as session:
        await session.execute(update(Promo).where(Promo.id == promo_id).values(status=status))
