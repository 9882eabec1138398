"""Scheduler and worker away: nothing is wrong meanwhile, and all is tidied when they return."""

import asyncio
from datetime import timedelta

from redis.asyncio import Redis
from sqlalchemy import text

from db.announcing import Announcer
from db.events import stock_topic
from db.models.promos import PromoStatus
from db.queries.holds import HoldRow
from db.reserver import Reserver
from db.session import Database
from db.transactions.reserving import HoldRequest
from tests.factories import make_user, right_now
from tests.holds.audit import audit, counters
from tests.market import make_promo
from tests.servers import end, start_auspex

FORGOTTEN = text("""
    INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity, unit_price,
                              created_at, expires_at)
    SELECT 'forgotten ' || id, id, store_product_id, :user_id, 4, 1,
           now() - interval '6 minutes', now() - interval '5 minutes'
    FROM flash_promos WHERE id = :promo_id
""")


async def forget_hold(database: Database, promo_id: int) -> None:
    """A hold that ran out five minutes ago, and that nobody has tidied."""
    user = await make_user(database)
    async with database.transaction() as session:
        await session.execute(FORGOTTEN, {"user_id": user.id, "promo_id": promo_id})


def make_reserver(database: Database, redis_address: str) -> Reserver:
    return Reserver(database, Announcer(Redis.from_url(redis_address)), right_now)


async def test_units_of_forgotten_holds_are_for_sale_though_nobody_tidies(
    database: Database, redis_address: str
) -> None:
    promo = await make_promo(database, units=4)
    await forget_hold(database, promo)
    reserver = make_reserver(database, redis_address)
    users = [(await make_user(database)).id for _ in range(4)]
    outcomes = await asyncio.gather(
        *[reserver.reserve(promo, HoldRequest(user, 1)) for user in users]
    )
    assert all(isinstance(outcome, HoldRow) for outcome in outcomes)
    assert await counters(database, promo) == {"on_hand": 4, "held": 4, "taken": 4}
    await audit(database)


async def test_a_persons_own_forgotten_hold_does_not_bar_a_new_one(
    database: Database, redis_address: str
) -> None:
    promo = await make_promo(database, units=50, max_per_user=4)
    await forget_hold(database, promo)
    async with database.read() as reader:
        user = (await reader.execute(text("SELECT user_id FROM reservations"))).scalar_one()
    reserver = make_reserver(database, redis_address)
    outcome = await reserver.reserve(promo, HoldRequest(user, 4))
    assert isinstance(outcome, HoldRow)
    assert outcome.status == "HELD"
    assert await counters(database, promo) == {"on_hand": 50, "held": 4, "taken": 4}


async def test_all_that_is_due_is_tidied_within_five_seconds_of_the_schedulers_return(
    database: Database, database_url: str, redis_address: str
) -> None:
    promos = [await make_promo(database, units=4) for _ in range(30)]
    for promo in promos:
        await forget_hold(database, promo)
    past = right_now() - timedelta(minutes=5)
    due = await make_promo(database, status=PromoStatus.SCHEDULED, starts_at=past)
    over = await make_promo(database, ends_at=past)
    redis = Redis.from_url(redis_address)
    async with redis.pubsub() as news:
        await news.psubscribe("auspex:*")
        scheduler = start_auspex(
            "scheduler", variables={"DATABASE_URL": database_url, "REDIS_URL": redis_address}
        )
        try:
            await until_it_leads(database)
            started = asyncio.get_running_loop().time()
            while await untidied(database, due, over):
                assert asyncio.get_running_loop().time() - started < 5
                await asyncio.sleep(0.05)
        finally:
            await end(scheduler)
        told = set()
        while message := await news.get_message(timeout=0.1):
            told.add(message["channel"].decode())
    await redis.aclose()
    async with database.read() as reader:
        stock = (await reader.execute(text("SELECT store_product_id FROM reservations"))).scalars()
        assert {f"auspex:{stock_topic(row)}" for row in stock} <= told
    await audit(database)


async def until_it_leads(database: Database) -> None:
    leader = text(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    async with asyncio.timeout(60):
        while True:
            async with database.read() as reader:
                if (await reader.execute(leader)).all():
                    return
            await asyncio.sleep(0.02)


async def untidied(database: Database, due: int, over: int) -> bool:
    async with database.read() as reader:
        row = (
            await reader.execute(
                text(
                    "SELECT (SELECT count(*) FROM reservations WHERE status = 'HELD') AS held,"
                    " (SELECT status FROM flash_promos WHERE id = :due) AS due,"
                    " (SELECT status FROM flash_promos WHERE id = :over) AS over"
                ),
                {"due": due, "over": over},
            )
        ).one()
    return tuple(row) != (0, "ACTIVE", "ENDED")
