"""Taking holds: spread over 1,000 promos, and all on one; beside the same tables under pgbench.

A flash sale is one hot row. One transaction a buyer queues for its lock; our process takes those
who wait together. Every buyer is another person, each request gets an answer of its own.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import text

from benchmarks.scratch import pgbench, rate_of_pgbench, scratch_database
from db.announcing import Announcer
from db.queries.holds import HoldRow
from db.reserver import Reserver
from db.session import Database
from db.transactions.reserving import HoldRequest
from tests.databases import redis_url

ROUNDS = 5
SECONDS = 2.0
CLIENTS = 64
CONNECTIONS = 8
PROMOS = 1_000
PEOPLE = 200_000
REDIS_NUMBER = 15
MARKET = f"""
INSERT INTO users (id, role)
SELECT gen_random_uuid(), 'USER' FROM generate_series(1, {PEOPLE});
INSERT INTO stores (owner_id, name, time_zone, geom)
SELECT (SELECT id FROM users LIMIT 1), 'Store', 'America/Bogota', 'SRID=4326;POINT(-74.06 4.65)';
INSERT INTO products (name) SELECT 'Product ' || n FROM generate_series(1, {PROMOS}) n;
INSERT INTO store_products (store_id, product_id, on_hand, base_price)
SELECT stores.id, products.id, 100000000, 1000 FROM stores, products;
INSERT INTO flash_promos (store_product_id, starts_at, ends_at, status)
SELECT id, now() - interval '1 hour', now() + interval '1 day', 'ACTIVE' FROM store_products;
CREATE TABLE buyers AS SELECT row_number() OVER () AS id, users.id AS user_id FROM users;
ALTER TABLE buyers ADD PRIMARY KEY (id);
INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity, unit_price,
                          created_at, expires_at)
SELECT 'earlier ' || b.id, p.id, p.store_product_id, b.user_id, 1, 1000,
       now(), now() + interval '50 s'
FROM buyers b JOIN flash_promos p ON p.id = 1 + b.id % {PROMOS} WHERE b.id <= {PEOPLE} / 2;
UPDATE reservations SET status = 'CONFIRMED', closed_at = now();
ANALYZE;
"""
ONE_BY_ONE = """
\\set buyer random(1, {people})
\\set promo {promo}
BEGIN;
SELECT p.status, p.taken, s.id, s.on_hand, s.held FROM flash_promos p
JOIN store_products s ON s.id = p.store_product_id
WHERE p.id = :promo FOR NO KEY UPDATE OF p, s;
INSERT INTO reservations (token, promo_id, store_product_id, user_id, quantity, unit_price,
                          created_at, expires_at)
SELECT gen_random_uuid(), p.id, p.store_product_id, b.user_id, 1, 1000,
       clock_timestamp(), clock_timestamp() + interval '60 seconds'
FROM flash_promos p, buyers b WHERE p.id = :promo AND b.id = :buyer
ON CONFLICT DO NOTHING;
COMMIT;
"""


async def rate(reserver: Reserver, people: Iterator[UUID], promos: list[int]) -> float:
    """Holds a second that so many clients get who each ask again when they are answered."""
    done = 0
    until = time.perf_counter() + SECONDS

    async def client() -> None:
        nonlocal done
        while time.perf_counter() < until:
            promo = random.choice(promos)
            outcome = await reserver.reserve(promo, HoldRequest(next(people), 1))
            if not isinstance(outcome, HoldRow):
                raise outcome
            done += 1

    await asyncio.gather(*[client() for _ in range(CLIENTS)])
    return done / SECONDS


async def lone(reserver: Reserver, people: Iterator[UUID], promo: int) -> float:
    """Milliseconds that a buyer who meets nobody waits, as the median of 200."""
    times = []
    for _ in range(200):
        start = time.perf_counter()
        await reserver.reserve(promo, HoldRequest(next(people), 1))
        times.append(time.perf_counter() - start)
    return median(times) * 1_000


async def compare(database: Database, url: str, folder: Path) -> None:
    async with database.read() as reader:
        users = list((await reader.execute(text("SELECT user_id FROM buyers"))).scalars())
        promos = list((await reader.execute(text("SELECT id FROM flash_promos"))).scalars())
    turn = count()
    people = (users[next(turn) % len(users)] for _ in count())
    redis = Redis.from_url(redis_url(REDIS_NUMBER))
    announcer = Announcer(redis)
    announcer.start()
    reserver = Reserver(database, announcer, lambda: datetime.now(UTC))
    program = pgbench()
    scripts = {"hot": folder / "hot", "spread": folder / "spread"}
    for name, promo in (("hot", "1"), ("spread", f"random(1, {PROMOS})")):
        scripts[name].mkdir()
        (scripts[name] / "one.sql").write_text(ONE_BY_ONE.format(people=PEOPLE, promo=promo))
    rates: dict[str, list[float]] = {}
    alone = await lone(reserver, people, promos[1])
    for _ in range(ROUNDS):
        for name, chosen in (("spread", promos), ("hot", promos[:1])):
            rates.setdefault(name, []).append(await rate(reserver, people, chosen))
            if program:
                bench = asyncio.to_thread(
                    rate_of_pgbench, program, url, scripts[name], CONNECTIONS, SECONDS
                )
                rates.setdefault(f"pgbench {name}", []).append(await bench)
    await announcer.stop()
    await redis.aclose()
    show({name: median(values) for name, values in rates.items()}, alone)


def show(found: dict[str, float], alone: float) -> None:
    print(f"{CLIENTS} buyers at once, {CONNECTIONS} connections, medians of {ROUNDS} rounds")
    print(f"alone: {alone:.1f} ms from request to hold (median of 200)")
    print(f"ours, over {PROMOS} promos        {found['spread']:8.0f} holds/s")
    print(f"ours, all on one promo       {found['hot']:8.0f} holds/s", end="")
    print(f"   hot is {found['hot'] / found['spread']:.2f} of spread (wanted: 0.9)")
    if "pgbench hot" not in found:
        print("pgbench is not installed: no comparison with one transaction a buyer")
        return
    print(f"pgbench, over {PROMOS} promos     {found['pgbench spread']:8.0f} holds/s", end="")
    print(f"   ours reaches {found['spread'] / found['pgbench spread']:.2f} of it")
    print(f"pgbench, all on one promo    {found['pgbench hot']:8.0f} holds/s", end="")
    print(f"   hot is {found['pgbench hot'] / found['pgbench spread']:.2f} of spread;", end="")
    print(f" ours is {found['hot'] / found['pgbench hot']:.2f} of it")


async def main() -> None:
    async with scratch_database(CONNECTIONS, MARKET) as (database, url):
        with tempfile.TemporaryDirectory() as folder:
            await compare(database, url, Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
