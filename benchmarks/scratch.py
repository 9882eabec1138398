"""What benchmarks share: a database of their own, and PostgreSQL alone (pgbench) beside it."""

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from db.session import Database, create_engine
from tests.databases import admin_url, drop, make_template, named


@asynccontextmanager
async def scratch_database(connections: int, contents: str) -> AsyncIterator[tuple[Database, str]]:
    """A migrated database with these contents (SQL), and its address; dropped in the end."""
    name = f"bench_{uuid4().hex[:12]}"
    await make_template(name)
    try:
        url = named(admin_url(), name)
        database = Database(create_engine(url, pool_size=connections, max_overflow=0))
        async with database.transaction() as session:
            connection = await (await session.connection()).get_raw_connection()
            await connection.driver_connection.execute(contents)  # type: ignore[union-attr]
        yield database, url
        await database.close()
    finally:
        await drop(name)


def pgbench() -> str | None:
    """Its path; distributions keep it out of the way."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    return shutil.which("pgbench") or (str(found[-1]) if found else None)


def rate_of_pgbench(program: str, url: str, folder: Path, clients: int, seconds: float) -> float:
    """Transactions a second of the scripts in a folder, taken at random."""
    scripts = [part for path in sorted(folder.iterdir()) for part in ("-f", str(path))]
    load = ["-c", str(clients), "-j", "2", "-T", str(int(seconds))]
    done = subprocess.run(
        [program, "-n", "-M", "prepared", *load, *scripts, url],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(done.stdout)
    return float(found[1])
