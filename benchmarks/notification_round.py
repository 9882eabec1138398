"""A whole round of promo notices in a large city, through the handlers of its jobs.

100,000 people and 1,000 promos within 20 km, the same each time. Prints how long a round takes, and
whether its promises hold: after a round, after one that was killed in the middle and run again,
and after a repeat. Exits with 1 if one is broken.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from sqlalchemy import or_, select, text

from db.models import Job
from db.models.jobs import JobStatus
from db.outbox import enqueue
from db.queries.notification_rounds import round_plan
from db.session import Database, create_engine
from db.transactions.notices import NOTIFY_ACTIVE_PROMOS_ACTOR, SEND_PUSH_BATCH_ACTOR
from tasks import notifications
from tasks.jobs import JOBS
from tasks.resources import Resources
from tasks.runner import JobRunner
from tests.databases import admin_url, drop, make_template, named, redis_url

PEOPLE, STORES, PRODUCTS = 100_000, 500, 2
AT_A_TIME = 4
"""Jobs; as `auspex worker` has it."""
LIMIT = 60
"""Seconds that a whole round may take on two cores."""
KILLED_AFTER = 300
"""Batches."""
NOON = datetime(2026, 3, 10, 17, 0, tzinfo=UTC)
"""In Bogota."""

PLACE = "ST_MakePoint(-74.15 + random() * 0.18, 4.56 + random() * 0.18)::geography"
CITY = f"""
SELECT setseed(0.5);
INSERT INTO users (id, issuer, created_at)
    SELECT md5('person' || i)::uuid, 'city', '{NOON}' FROM generate_series(1, {PEOPLE}) i;
INSERT INTO profiles
    (user_id, geom, time_zone, promos_enabled, daily_cap, quiet_from, quiet_to)
    SELECT id, {PLACE}, 'America/Bogota', random() > 0.05,
        (ARRAY[0, 1, 2, 3, 3, 3, 3, 3, 5, 10])[1 + floor(random() * 10)::int],
        CASE n % 10 WHEN 0 THEN time '22:00' WHEN 1 THEN time '11:00' END,
        CASE n % 10 WHEN 0 THEN time '07:00' WHEN 1 THEN time '13:00' END
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM users) people;
INSERT INTO stores (owner_id, name, geom, time_zone)
    SELECT md5('person1')::uuid, 'Store ' || i, {PLACE}, 'America/Bogota'
    FROM generate_series(1, {STORES}) i;
INSERT INTO products (name) SELECT 'Product ' || i FROM generate_series(1, {PRODUCTS}) i;
INSERT INTO store_products (store_id, product_id, on_hand, base_price)
    SELECT stores.id, products.id, 100, 1000 FROM stores, products;
INSERT INTO flash_promos (store_product_id, starts_at, ends_at, status, discount_percent)
    SELECT id, '{NOON - timedelta(hours=1)}', '{NOON + timedelta(hours=8)}', 'ACTIVE', 20
    FROM store_products
"""
FORGET = "TRUNCATE notifications, notification_days; DELETE FROM jobs"

ROWS = "SELECT count(*) FROM notifications"
OUTCOME = (
    "SELECT md5(string_agg(user_id::text || promo_id, ',' ORDER BY user_id, promo_id))"
    " FROM notifications"
)
BROKEN = {
    "told twice of a promo on a day": "SELECT count(*) - count(DISTINCT (user_id, promo_id,"
    " sent_date)) FROM notifications",
    "over their cap": "SELECT count(*) FROM (SELECT user_id FROM notifications GROUP BY user_id,"
    " sent_date HAVING count(*) > (SELECT daily_cap FROM profiles p WHERE p.user_id ="
    " notifications.user_id)) over_cap",
    "counted wrongly": "SELECT count(*) FROM notification_days d WHERE sent <> (SELECT count(*)"
    " FROM notifications n WHERE n.user_id = d.user_id AND n.sent_date = d.day)",
    "told in quiet hours": "SELECT count(*) FROM notifications JOIN profiles USING (user_id)"
    " WHERE quiet_from = '11:00'",
    "told although opted out": "SELECT count(*) FROM notifications JOIN profiles USING (user_id)"
    " WHERE NOT promos_enabled",
    "told of a promo out of reach": "SELECT count(*) FROM notifications n JOIN profiles p"
    " USING (user_id) JOIN flash_promos f ON f.id = n.promo_id"
    " WHERE ST_Distance(p.geom, f.geom) > f.radius_m",
}


class Workers:
    """Claims and carries out jobs as a worker does, without a broker to ring for them."""

    def __init__(self, database: Database, redis: Redis) -> None:
        started = time.monotonic()
        self.database = database
        self.ahead = timedelta()
        self.resources = Resources(
            database,
            redis,
            now=lambda: NOON + self.ahead + timedelta(seconds=time.monotonic() - started),
        )
        self.batches = 0

    async def round(self, kill_after: int | None = None) -> float:
        """Seconds until nothing is left to do, or until it was killed."""
        started = time.perf_counter()
        async with self.database.transaction() as session:
            await enqueue(session, NOTIFY_ACTIVE_PROMOS_ACTOR, now=self.resources.now())
        await self.carry_on(kill_after)
        return time.perf_counter() - started

    async def carry_on(self, kill_after: int | None = None) -> None:
        self.batches = 0
        while due := await self._due():
            jobs = iter(due)
            works = [asyncio.create_task(self._work(jobs)) for _ in range(AT_A_TIME)]
            while not all(work.done() for work in works):
                await asyncio.wait(works, timeout=0.01)
                if kill_after is not None and self.batches >= kill_after:
                    await self._die(works)
                    return
            await asyncio.gather(*works)

    async def _die(self, works: list[asyncio.Task[None]]) -> None:
        """Whatever is under way stops where it is; PostgreSQL rolls back what was not committed."""
        for work in works:
            work.cancel()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.database.close()

    async def _work(self, jobs: Any) -> None:
        for job_id, actor in jobs:
            await JobRunner(self.resources).run(JOBS[actor], job_id)
            self.batches += actor == SEND_PUSH_BATCH_ACTOR

    async def _due(self) -> list[Any]:
        lapsed = (Job.status == JobStatus.RUNNING) & (Job.leased_until < self.resources.now())
        async with self.database.read() as reader:
            rows = await reader.execute(
                select(Job.id, Job.actor)
                .where(or_(Job.status == JobStatus.QUEUED, lapsed))
                .order_by(Job.created_at)
            )
            return list(rows)


@asynccontextmanager
async def city() -> AsyncIterator[Database]:
    name = f"bench_{uuid4().hex[:12]}"
    await make_template(name)
    database = Database(create_engine(named(admin_url(), name)))
    try:
        async with database.transaction() as session:
            for statement in CITY.split(";"):
                await session.execute(text(statement))
        await vacuum(database)
        yield database
    finally:
        await database.close()
        await drop(name)


async def vacuum(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(text("VACUUM ANALYZE"))


async def figure(database: Database, statement: str) -> Any:
    async with database.read() as reader:
        return (await reader.execute(text(statement))).scalar_one()


async def promises(workers: Workers, what: str) -> bool:
    """Prints whether each is kept."""
    database = workers.database
    kept = True
    for broken, statement in BROKEN.items():
        found = await figure(database, statement)
        kept &= found == 0
        print(f"  {what}: {broken:<34}{found:>8}", flush=True)
    async with database.read() as reader:
        left = sum(map(len, (await round_plan(reader, workers.resources.now())).values()))
    print(f"  {what}: {'notices left to send':<34}{left:>8}", flush=True)
    return kept and left == 0


async def server_seconds(database: Database) -> float:
    """Of a core, that the connections to this database have used so far (Linux, same machine)."""
    async with database.read() as reader:
        backends = await reader.execute(
            text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        )
        return sum(map(seconds_of_process, backends.scalars()))


def seconds_of_process(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().split()[13:15]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def rounds(database: Database, redis: Redis) -> bool:
    workers = Workers(database, redis)
    own, server = time.process_time(), await server_seconds(database)
    seconds = await workers.round()
    own, server = time.process_time() - own, await server_seconds(database) - server
    rows, whole = await figure(database, ROWS), await figure(database, OUTCOME)
    print(f"whole round: {seconds:.1f} s, {rows:,} notices, {rows / seconds:,.0f} a second")
    print(f"  under {LIMIT} s: {seconds < LIMIT}")
    print(f"  seconds of a core: {own:.1f} in the worker, {server:.1f} in PostgreSQL", flush=True)
    kept = await promises(workers, "whole")

    seconds = await workers.round()
    new = await figure(database, ROWS) - rows
    print(f"run again: {seconds:.1f} s, {new:,} new notices")
    kept = kept and bool(new == 0)

    await forget(database)
    workers = Workers(database, redis)
    await workers.round(kill_after=KILLED_AFTER)
    sent = await figure(database, ROWS)
    print(f"killed in the middle: {sent:,} notices were sent")
    kept = kept and bool(0 < sent < rows)
    workers = Workers(database, redis)
    workers.ahead = timedelta(minutes=1)  # the leases of the dead have lapsed
    seconds = await workers.round()
    again, outcome = await figure(database, ROWS), await figure(database, OUTCOME)
    print(f"and run again: {seconds:.1f} s, {again:,} notices, the same: {outcome == whole}")
    return await promises(workers, "killed") and kept and bool(outcome == whole)


async def forget(database: Database) -> None:
    async with database.transaction() as session:
        for statement in FORGET.split(";"):
            await session.execute(text(statement))
    await vacuum(database)


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    assert notifications, "declares the jobs"
    redis = Redis.from_url(redis_url(15))
    async with city() as database:
        print(f"{PEOPLE:,} people, {STORES * PRODUCTS:,} promos within 20 km", flush=True)
        kept = await rounds(database, redis)
    await redis.aclose()
    if not kept:
        raise SystemExit("A promise is broken.")


if __name__ == "__main__":
    asyncio.run(main())
