"""Where a process's buyers meet: their requests for one promo become one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.exc import DBAPIError

from db.announcing import Announcer
from db.combining import Combiner
from db.events import stock_topic
from db.queries.holds import HoldRow
from db.session import Database, is_outage
from db.transactions.holds import tidy_stock
from db.transactions.reserving import (
    OUTSIDE_SCHEDULE,
    Batch,
    HoldRequest,
    KeyRace,
    Outcome,
    reserve,
)
from db.transactions.reserving_alone import reserve_alone

ATTEMPTS = 4
AGAIN = frozenset({"40001", "40P01", OUTSIDE_SCHEDULE})
"""A deadlock that PostgreSQL broke, or a promo that ended between the look and the insert: nothing
was done, and the next attempt sees what is so."""


class Reserver:
    """Requests for different promos run side by side; those for one promo, a batch at a time."""

    def __init__(
        self, database: Database, announcer: Announcer, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._announcer = announcer
        self._clock = clock
        self._combiner: Combiner[int, HoldRequest, Outcome] = Combiner(self._answer)

    async def reserve(self, promo_id: int, request: HoldRequest) -> Outcome:
        """The hold, or the domain error that says why there is none."""
        return await self._combiner.submit(promo_id, request)

    async def stop(self) -> None:
        await self._combiner.stop()

    async def _answer(self, promo_id: int, requests: Sequence[HoldRequest]) -> list[Outcome]:
        if len(requests) == 1 and (hold := await self._alone(promo_id, requests[0])) is not None:
            self._announcer.announce({stock_topic(hold.store_product_id)})
            return [hold]
        return await self._together(promo_id, requests)

    async def _alone(self, promo_id: int, request: HoldRequest) -> HoldRow | None:
        try:
            async with self._database.statement() as connection:
                return await reserve_alone(connection, promo_id, request, self._clock())
        except DBAPIError as error:
            if is_outage(error):
                raise
            return None  # a rule of the database: the long way tells which, and to whom

    async def _together(self, promo_id: int, requests: Sequence[HoldRequest]) -> list[Outcome]:
        for left in reversed(range(ATTEMPTS)):
            try:
                batch = await self._attempt(promo_id, requests)
                if batch.overdue is not None:
                    await self._tidy(batch.overdue)
                    continue
            except KeyRace:
                if not left:
                    raise
            except DBAPIError as error:
                if not left or getattr(error.orig, "sqlstate", "") not in AGAIN:
                    raise
            else:
                self._announcer.announce(batch.topics)
                return batch.outcomes
        raise TimeoutError(f"the holds of promo {promo_id} could not be tidied")

    async def _attempt(self, promo_id: int, requests: Sequence[HoldRequest]) -> Batch:
        async with self._database.transaction() as session:
            return await reserve(session, promo_id, requests, self._clock())

    async def _tidy(self, store_product_id: int) -> None:
        async with self._database.transaction() as session:
            topics = await tidy_stock(session, store_product_id, self._clock())
        self._announcer.announce(topics)
