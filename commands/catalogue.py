"""A merchant's catalogue from a CSV file."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from redis.asyncio import Redis
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy.exc import DBAPIError

from commands.catalogue_file import CatalogueFile, FileRow, RefusedRows, UnreadableFile
from commands.operator import now, open_database, settings_with_logs
from db.events import publish_all
from db.queries.catalogue import accounts_by_login
from db.session import Database, is_outage
from db.transactions.catalogue_imports import import_rows
from db.transactions.stock_imports import ImportResult, ImportRow
from settings import Settings

BATCH_ROWS = 1_000
RETRIES = 3
RETRYABLE = frozenset({"40001", "40P01"})
COUNTED = ("stores", "products", "stock")

File = Annotated[Path, typer.Argument(help="CSV with a header, UTF-8.")]
Owner = Annotated[
    str | None, typer.Option(help="E-mail or user name of the owner where a row names none.")
]
Report = Annotated[
    Path | None, typer.Option(help="Where refused rows go; if left out: FILE.refused.csv.")
]


class UnknownOwner(Exception):
    """Nobody, or nobody in particular, answers to a name."""


@dataclass
class Import:
    """One run: where to, and what was done so far. Each batch is a transaction of its own."""

    database: Database
    redis: "Redis"
    time_zone: str
    owner: str
    owners: dict[str, UUID | UnknownOwner] = field(default_factory=dict)
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    async def load(self, rows: Sequence[FileRow], report: RefusedRows) -> None:
        await self.meet({row.owner or self.owner for row in rows if row.reason is None})
        reasons = {row.line: row.reason or self._ownerless(row) for row in rows}
        ready = [self._import_row(row) for row in rows if reasons[row.line] is None]
        done = await self._write(ready) if ready else ImportResult()
        await publish_all(self.redis, done.topics)
        reasons |= dict(done.refused)
        for row in rows:
            reason = reasons[row.line]
            if reason is not None:
                report.add(row.line, reason, row.cells)
        self.rows += len(rows)
        self.counts.update(done.counts)

    async def meet(self, logins: set[str]) -> None:
        """Looks up who is meant, once a run."""
        unknown = sorted(logins - self.owners.keys())
        if not unknown:
            return
        async with self.database.read() as reader:
            found = await accounts_by_login(reader, unknown)
        for login in unknown:
            self.owners[login] = _the_one(login, found.get(login, []))

    def _ownerless(self, row: FileRow) -> str | None:
        owner = self.owners[row.owner or self.owner]
        return str(owner) if isinstance(owner, UnknownOwner) else None

    def _import_row(self, row: FileRow) -> ImportRow:
        owner = self.owners[row.owner or self.owner]
        if isinstance(owner, UnknownOwner):
            raise owner
        return ImportRow(line=row.line, owner_id=owner, **row.values)

    async def _write(self, rows: list[ImportRow]) -> ImportResult:
        """Once more if PostgreSQL gave up on it to break a deadlock."""
        for retries_left in reversed(range(RETRIES + 1)):
            try:
                async with self.database.transaction() as session:
                    return await import_rows(session, rows, time_zone=self.time_zone, now=now())
            except DBAPIError as error:
                if not retries_left or getattr(error.orig, "sqlstate", "") not in RETRYABLE:
                    raise
        raise AssertionError("unreachable")


def _the_one(login: str, found: Sequence[UUID]) -> UUID | UnknownOwner:
    if not login:
        return UnknownOwner("owner is required where --owner is not given")
    if not found:
        return UnknownOwner(f"owner: there is no account '{login}'")
    if len(found) > 1:
        return UnknownOwner(f"owner: several accounts have the address '{login}'")
    return found[0]


def import_catalogue(file: File, owner: Owner = None, report: Report = None) -> None:
    """Load stores, products and stock from a CSV file; a second run adds nothing.

    Columns: store, latitude, longitude, time_zone, product, description, stock, base_price, owner.
    Rows that can't be are refused, with line and reason, and the rest is loaded.
    """
    settings = settings_with_logs()
    try:
        with file.open("rb") as raw:
            rows = CatalogueFile(raw, has_owner=owner is not None)
            refused = RefusedRows(report or file.with_name(f"{file.name}.refused.csv"), rows.header)
            with closing(refused):
                done = _run(settings, rows, refused, owner or "")
    except (UnreadableFile, UnknownOwner) as error:
        raise SystemExit(f"Nothing was loaded: {error}") from None
    except OSError as error:
        raise SystemExit(f"Nothing was loaded: {error.filename}: {error.strerror}") from None
    _show(done, refused)
    if done.rows and refused.count == done.rows:
        raise SystemExit("Nothing was loaded: every row was refused.")


def _run(settings: Settings, rows: CatalogueFile, refused: RefusedRows, owner: str) -> Import:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Reading", total=rows.bytes)

        def show(done: int) -> None:
            bar.update(task, completed=rows.bytes_read, description=f"{done:,} rows")

        try:
            return asyncio.run(_import(settings, rows, refused, owner, show))
        except Exception as error:
            if is_outage(error):
                message = "The database is away. What was loaded stays; run the command again."
                raise SystemExit(message) from None
            raise


async def _import(
    settings: Settings,
    rows: CatalogueFile,
    refused: RefusedRows,
    owner: str,
    show: Callable[[int], None],
) -> Import:
    redis = Redis.from_url(settings.redis_url, socket_connect_timeout=2)
    try:
        async with open_database(settings) as database:
            run = Import(database, redis, settings.time_zone, owner)
            await run.meet({owner})
            nobody = run.owners[owner]
            if owner and isinstance(nobody, UnknownOwner):
                raise nobody
            lines = iter(rows)
            while batch := list(islice(lines, BATCH_ROWS)):
                await run.load(batch, refused)
                show(run.rows)
    finally:
        await redis.aclose()
    return run


def _show(done: Import, refused: RefusedRows) -> None:
    table = Table("", "new", "changed")
    for name in COUNTED:
        table.add_row(name, *(f"{done.counts[f'{name} {what}']:,}" for what in ("made", "changed")))
    console = Console()
    console.print(table)
    where = f" They are in {refused.path}." if refused.count else ""
    console.print(
        f"{done.rows:,} rows read, {refused.count:,} refused.{where}", markup=False, soft_wrap=True
    )


COMMANDS = {"import-catalogue": import_catalogue}
