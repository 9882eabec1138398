"""What two people do at the same moment ends as one of them after the other."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from sqlalchemy import text

from db.errors import InputRejected
from db.session import Database
from db.transactions.catalogue import delete_product, delete_store
from db.transactions.store_products import create_store_product
from tests.catalogue.waiting import somebody_waits
from tests.factories import right_now
from tests.market import Stock, make_stock

Work = Callable[[], Awaitable[None]]


async def put_in(database: Database, stock: Stock, begun: asyncio.Event | None = None) -> None:
    """Puts the product into the store; with `begun`, commits when somebody waits for it."""
    async with database.transaction() as session:
        await create_store_product(
            session,
            by=stock.owner_id,
            is_admin=False,
            values={
                "store_id": stock.store_id,
                "product_id": stock.product_id,
                "on_hand": 1,
                "base_price": Decimal(1),
            },
            now=right_now(),
        )
        if begun is not None:
            begun.set()
            await somebody_waits(database)


async def delete(
    database: Database, stock: Stock, which: str, begun: asyncio.Event | None = None
) -> None:
    async with database.transaction() as session:
        by = stock.owner_id
        if which == "product":
            await delete_product(session, stock.product_id, by=by, is_admin=False)
        else:
            await delete_store(session, stock.store_id, by=by, is_admin=False)
        if begun is not None:
            begun.set()
            await somebody_waits(database)


async def codes_of(begun: asyncio.Event, work: Work) -> list[str]:
    await begun.wait()
    with pytest.raises(InputRejected) as refused:
        await work()
    return [problem.code for problem in refused.value.problems]


async def unstocked(database: Database) -> Stock:
    stock = await make_stock(database)
    async with database.transaction() as session:
        await session.execute(text("DELETE FROM store_products"))
    return stock


@pytest.mark.parametrize("which", ["product", "store"])
async def test_what_is_being_stocked_can_not_be_deleted(database: Database, which: str) -> None:
    stock, begun = await unstocked(database), asyncio.Event()
    _, codes = await asyncio.gather(
        put_in(database, stock, begun),
        codes_of(begun, lambda: delete(database, stock, which)),
    )
    assert codes == ["IN_USE"]


@pytest.mark.parametrize("which", ["product", "store"])
async def test_what_is_being_deleted_can_not_be_stocked(database: Database, which: str) -> None:
    stock, begun = await unstocked(database), asyncio.Event()
    _, codes = await asyncio.gather(
        delete(database, stock, which, begun),
        codes_of(begun, lambda: put_in(database, stock)),
    )
    assert codes == ["NOT_FOUND"]


async def test_of_two_who_put_the_same_in_one_is_told_that_it_is_there(
    database: Database,
) -> None:
    stock, begun = await unstocked(database), asyncio.Event()
    _, codes = await asyncio.gather(
        put_in(database, stock, begun), codes_of(begun, lambda: put_in(database, stock))
    )
    assert codes == ["TAKEN"]


@pytest.mark.parametrize("which", ["product", "store"])
async def test_of_two_who_delete_the_same_one_is_told_that_it_is_gone(
    database: Database, which: str
) -> None:
    stock, begun = await unstocked(database), asyncio.Event()
    _, codes = await asyncio.gather(
        delete(database, stock, which, begun),
        codes_of(begun, lambda: delete(database, stock, which)),
    )
    assert codes == ["NOT_FOUND"]
