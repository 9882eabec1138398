"""The sweep: holds past their time go back to the shelf, and to who waits for them.

It only tidies. That a hold is over is decided by its time, wherever it is looked at, and a reserve
that finds too little tidies by itself.
"""

import structlog

from db.events import publish_all
from db.queries.holds import overdue_stock
from db.session import is_outage
from db.transactions.holds import tidy_stock
from db.transactions.offers import offer_leftovers, waiting_stock
from tasks.resources import Resources

log = structlog.get_logger(__name__)

SWEEP_BATCH = 500


async def sweep_holds(resources: Resources) -> None:
    """A transaction for each stock row: none waits for another's locks, and one that fails does
    not keep the others from being tidied."""
    seen: set[int] = set()
    while True:
        async with resources.database.read() as reader:
            due = [stock for stock in await overdue_stock(reader, SWEEP_BATCH) if stock not in seen]
        if not due:
            return
        seen.update(due)
        topics: set[str] = set()
        for store_product_id in due:
            topics |= await _tidied(resources, store_product_id)
        await publish_all(resources.redis, topics)
        log.info("holds.swept", stock_rows=len(due))


async def serve_waiting(resources: Resources) -> None:
    """Offers what no event has offered: units that another promo of the stock row gave back, terms
    that were eased, a line that was longer than one transaction serves."""
    async with resources.database.transaction() as session:
        waiting = await waiting_stock(session, SWEEP_BATCH)
    for store_product_id in waiting:
        async with resources.database.transaction() as session:
            topics = await offer_leftovers(session, store_product_id, resources.now())
        await publish_all(resources.redis, topics)


async def _tidied(resources: Resources, store_product_id: int) -> set[str]:
    try:
        async with resources.database.transaction() as session:
            return await tidy_stock(session, store_product_id, resources.now())
    except Exception as error:
        if is_outage(error):
            raise
        log.exception("holds.sweep_failed", store_product_id=store_product_id)
        return set()
