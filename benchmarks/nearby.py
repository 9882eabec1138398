"""The promos near a person, among 20,000 active ones in one city and as many that are over.

Our statement, from its index, against the plain one that joins everything, sorts it and takes the
first; both through the pool, in turns. And ours by pgbench beside it: what PostgreSQL alone can do.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from sqlalchemy import Dialect, text

from benchmarks.scratch import pgbench, rate_of_pgbench, scratch_database
from db.queries import nearby
from db.session import Database

ROUNDS = 5
SECONDS = 2.0
CLIENTS = 4
PAGE = 21
CITY = """
INSERT INTO users (id, role, created_at)
SELECT gen_random_uuid(), 'USER', now() - interval '60 days' FROM generate_series(1, 1000);
INSERT INTO profiles (user_id, time_zone, geom)
SELECT id, 'America/Bogota', ST_Project(
    'SRID=4326;POINT(-74.06 4.65)'::geography, 12000 * sqrt(random()), 6.28 * random()
) FROM users;
INSERT INTO stores (owner_id, name, time_zone, geom)
SELECT (SELECT id FROM users LIMIT 1), 'Store ' || number, 'America/Bogota', ST_Project(
    'SRID=4326;POINT(-74.06 4.65)'::geography, 12000 * sqrt(random()), 6.28 * random()
) FROM generate_series(1, 4000) number;
INSERT INTO products (name) SELECT 'Product ' || number FROM generate_series(1, 10) number;
INSERT INTO store_products (store_id, product_id, on_hand, base_price)
SELECT stores.id, products.id, 10, 1000 FROM stores, products;
INSERT INTO flash_promos (store_product_id, geom, starts_at, ends_at, status)
SELECT id, 'SRID=4326;POINT(0 0)', now() - interval '1 hour', now() + interval '1 day',
       CASE id % 2 WHEN 0 THEN 'ACTIVE' ELSE 'ENDED' END
FROM store_products;
ANALYZE;
"""
PLAIN = text("""
SELECT promo.*, stock.base_price, store.name, product.name,
       ST_Distance(store.geom, profile.geom) AS distance
FROM flash_promos promo
JOIN store_products stock ON stock.id = promo.store_product_id
JOIN stores store ON store.id = stock.store_id
JOIN products product ON product.id = stock.product_id
JOIN profiles profile ON profile.user_id = :user_id
JOIN users ON users.id = profile.user_id
LEFT JOIN promo_user_counts counts
  ON counts.promo_id = promo.id AND counts.user_id = profile.user_id
WHERE promo.status = 'ACTIVE' AND :now BETWEEN promo.starts_at AND promo.ends_at
  AND stock.on_hand > stock.held AND (promo.quota IS NULL OR promo.quota > promo.taken)
  AND (promo.max_per_user IS NULL OR coalesce(counts.taken, 0) < promo.max_per_user)
  AND 'NEW' = ANY (promo.segments) AND NOT EXISTS (
      SELECT FROM reservations WHERE user_id = users.id AND status = 'CONFIRMED')
  AND ST_DWithin(store.geom, profile.geom, promo.radius_m)
ORDER BY distance, promo.id LIMIT :limit
""")
Read = Callable[[Database, UUID], Awaitable[list[int]]]


def asked(user_id: UUID) -> dict[str, Any]:
    return {"user_id": user_id, "now": datetime.now(UTC), "limit": PAGE}


async def ours(database: Database, user_id: UUID) -> list[int]:
    async with database.read() as reader:
        now = datetime.now(UTC)
        rows = await nearby.eligible_near(reader, user_id, now=now, after=None, limit=PAGE)
        return [row.promo.id for row in rows]


async def plain(database: Database, user_id: UUID) -> list[int]:
    async with database.read() as reader:
        rows = (await reader.execute(PLAIN, asked(user_id))).all()
        return [row.id for row in rows]


async def rate(database: Database, people: list[UUID], read: Read) -> float:
    """Reads a second by so many clients, each of them for one person after the other."""
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        turn, until = number, time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            await read(database, people[turn % len(people)])
            turn += CLIENTS
            done += 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return done / SECONDS


def script(dialect: Dialect, person: UUID) -> str:
    """The text that the pool sends, with this person's values in it."""
    compiled = nearby.eligible_page(False).compile(dialect=dialect)
    values = compiled.params | asked(person) | {"now": "now"}
    sql = str(compiled)
    for number, name in reversed(list(enumerate(compiled.positiontup or (), 1))):
        sql = sql.replace(f"${number}::", f"'{values[name]}'::")
    return f"{sql};\n"


async def compare(database: Database, url: str, folder: Path) -> None:
    async with database.read() as reader:
        rows = await reader.execute(text("SELECT user_id FROM profiles ORDER BY 1 LIMIT 50"))
        people = list(rows.scalars())
    for person in people:
        (folder / f"{person}.sql").write_text(script(database.engine.dialect, person))
        if await ours(database, person) != await plain(database, person):
            raise RuntimeError(f"the two statements disagree about {person}")
    program = pgbench()
    rates: dict[str, list[float]] = {"ours": [], "plain": [], "pgbench": []}
    for _ in range(ROUNDS):
        rates["ours"].append(await rate(database, people, ours))
        rates["plain"].append(await rate(database, people, plain))
        if program:
            bench = asyncio.to_thread(rate_of_pgbench, program, url, folder, CLIENTS, SECONDS)
            rates["pgbench"].append(await bench)
    show(rates)


def show(rates: Mapping[str, list[float]]) -> None:
    found = {name: median(values) for name, values in rates.items() if values}
    print(f"{CLIENTS} clients, pages of {PAGE}, medians of {ROUNDS} rounds")
    print(f"from the index, through the pool   {found['ours']:8.0f}/s")
    print(f"all joined and sorted, the same    {found['plain']:8.0f}/s", end="")
    print(f"   the index is {found['ours'] / found['plain']:.1f} times as fast")
    if "pgbench" not in found:
        print("pgbench is not installed: no comparison with PostgreSQL alone")
        return
    print(f"from the index, by pgbench         {found['pgbench']:8.0f}/s", end="")
    print(f"   the pool reaches {found['ours'] / found['pgbench']:.0%} of it")


async def main() -> None:
    async with scratch_database(CLIENTS, CITY) as (database, url):
        with tempfile.TemporaryDirectory() as folder:
            await compare(database, url, Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
