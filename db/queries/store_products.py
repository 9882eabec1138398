"""Reads over stock: which store has how much of which product, and the promos of it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, column, func, select, true, values
from sqlalchemy.orm import InstrumentedAttribute

from db.models import Product, Promo, Store, StoreProduct
from db.queries.catalogue import PRODUCT, STORE, ProductRow, StoreRow
from db.queries.promos import PromoRow, promos
from db.session import Reader


@dataclass(frozen=True, slots=True)
class StoreProductRow:
    """With its store and product: hardly anybody asks for stock without asking of what, where."""

    id: int
    on_hand: int
    held: int
    base_price: Decimal
    created_at: datetime
    updated_at: datetime
    store: StoreRow
    product: ProductRow


STOCK = (
    StoreProduct.id,
    StoreProduct.on_hand,
    StoreProduct.held,
    StoreProduct.base_price,
    StoreProduct.created_at,
    StoreProduct.updated_at,
)
OF_STORE = slice(len(STOCK), len(STOCK) + len(STORE))
OF_PRODUCT = slice(len(STOCK) + len(STORE), None)


def _store_products() -> Select[Any]:
    return (
        select(
            *STOCK,
            *(part.label(f"store_{part.key}") for part in STORE),
            *(part.label(f"product_{part.key}") for part in PRODUCT),
        )
        .join(Store, Store.id == StoreProduct.store_id)
        .join(Product, Product.id == StoreProduct.product_id)
    )


def _store_product(row: Sequence[Any]) -> StoreProductRow:
    parts = [*row[: len(STOCK)], StoreRow(*row[OF_STORE]), ProductRow(*row[OF_PRODUCT])]
    return StoreProductRow(*parts)


def _of(
    statement: Select[*tuple[Any, ...]], store_id: int | None, product_id: int | None
) -> Select[Any]:
    if store_id is not None:
        statement = statement.where(StoreProduct.store_id == store_id)
    if product_id is not None:
        statement = statement.where(StoreProduct.product_id == product_id)
    return statement


async def store_products_page(
    reader: Reader, limit: int, after_id: int, store_id: int | None, product_id: int | None
) -> list[StoreProductRow]:
    statement = _of(_store_products(), store_id, product_id).where(StoreProduct.id > after_id)
    rows = await reader.execute(statement.order_by(StoreProduct.id).limit(limit))
    return [_store_product(row) for row in rows]


async def count_store_products(reader: Reader, store_id: int | None, product_id: int | None) -> int:
    statement = _of(select(func.count()).select_from(StoreProduct), store_id, product_id)
    count: int = (await reader.execute(statement)).scalar_one()
    return count


async def store_products_by_id(reader: Reader, ids: Sequence[int]) -> dict[int, StoreProductRow]:
    rows = await reader.execute(_store_products().where(StoreProduct.id.in_(ids)))
    return {row[0]: _store_product(row) for row in rows}


async def store_products_of_stores(
    reader: Reader, store_ids: Sequence[int], limit: int, after_id: int
) -> dict[int, list[StoreProductRow]]:
    """A page of each store's stock, by id."""
    return await _stock_pages(reader, StoreProduct.store_id, store_ids, limit, after_id)


async def store_products_of_products(
    reader: Reader, product_ids: Sequence[int], limit: int, after_id: int
) -> dict[int, list[StoreProductRow]]:
    """A page of where each product is kept, by id."""
    return await _stock_pages(reader, StoreProduct.product_id, product_ids, limit, after_id)


async def _stock_pages(
    reader: Reader,
    parent: InstrumentedAttribute[int],
    parent_ids: Sequence[int],
    limit: int,
    after_id: int,
) -> dict[int, list[StoreProductRow]]:
    rows = _store_products().where(StoreProduct.id > after_id).order_by(StoreProduct.id)
    page = _page_of_each(rows, parent, parent_ids, limit)
    found: defaultdict[int, list[StoreProductRow]] = defaultdict(list)
    for parent_id, *row in await reader.execute(page.order_by(page.selected_columns[1])):
        found[parent_id].append(_store_product(row))
    return found


def _page_of_each(
    statement: Select[Any],
    parent: InstrumentedAttribute[int],
    parent_ids: Sequence[int],
    limit: int,
) -> Select[Any]:
    """The parent's id and the first rows of an ordered statement, for each parent: one LATERAL
    join, not a query each. The order of the whole is the caller's to state again."""
    wanted = values(column("id", BigInteger), name="wanted").data([(id_,) for id_ in parent_ids])
    rows = statement.where(parent == wanted.c.id).limit(limit).lateral("rows")
    return select(wanted.c.id, *rows.c).join_from(wanted, rows, true())


async def count_stock_of_stores(reader: Reader, store_ids: Sequence[int]) -> dict[int, int]:
    return await _count_each(reader, StoreProduct.store_id, store_ids)


async def count_stock_of_products(reader: Reader, product_ids: Sequence[int]) -> dict[int, int]:
    return await _count_each(reader, StoreProduct.product_id, product_ids)


async def promos_of_stock(
    reader: Reader, ids: Sequence[int], limit: int, before_id: int | None, status: str | None
) -> dict[int, list[PromoRow]]:
    """A page of the promos of each stock row, newest first."""
    statement = promos().where(*_having(status)).order_by(Promo.id.desc())
    if before_id is not None:
        statement = statement.where(Promo.id < before_id)
    page = _page_of_each(statement, Promo.store_product_id, ids, limit)
    found: defaultdict[int, list[PromoRow]] = defaultdict(list)
    for parent_id, *row in await reader.execute(page.order_by(page.selected_columns[1].desc())):
        found[parent_id].append(PromoRow(*row))
    return found


async def count_promos_of_stock(
    reader: Reader, ids: Sequence[int], status: str | None
) -> dict[int, int]:
    return await _count_each(reader, Promo.store_product_id, ids, *_having(status))


def _having(status: str | None) -> list[ColumnElement[bool]]:
    return [Promo.status == status] if status else []


async def _count_each(
    reader: Reader,
    parent: InstrumentedAttribute[int],
    parent_ids: Sequence[int],
    *conditions: ColumnElement[bool],
) -> dict[int, int]:
    rows = await reader.execute(
        select(parent, func.count()).where(parent.in_(parent_ids), *conditions).group_by(parent)
    )
    return {row[0]: row[1] for row in rows}
