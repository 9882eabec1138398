"""A catalogue as a CSV file, row by row: what a row says, or why it is refused."""

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from db.errors import InputProblem
from db.transactions.catalogue_rules import (
    UNSTORABLE,
    description_problems,
    location_problems,
    name_problems,
    price_problems,
    stock_problems,
    time_zone_problems,
)

OWNER = "owner"
COLUMNS = (
    "store",
    "latitude",
    "longitude",
    "time_zone",
    "product",
    "description",
    "stock",
    "base_price",
)
WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
DECIMAL = re.compile(r"[+-]?[0-9]{1,20}([.][0-9]{1,20})?")
FLOAT = re.compile(r"[+-]?([0-9]{1,20}([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?")
MOST_SHOWN = 40


class UnreadableFile(ValueError):
    """No table of a catalogue at all."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """`line` counts from 1 with the header, as a text editor shows it. With `reason` the row is
    refused; else `values` holds store, location, time_zone, product, description, on_hand,
    base_price. `owner` is '' where the row names none."""

    line: int
    cells: list[str]
    owner: str
    values: dict[str, Any]
    reason: str | None


class CatalogueFile:
    """The rows of an open file. Raises UnreadableFile for one without the columns."""

    def __init__(self, raw: BinaryIO, *, has_owner: bool) -> None:
        # utf-8-sig: spreadsheets put a byte order mark before the first column's name. Bytes that
        # are not UTF-8 stay recognisable: they cost their row, not the file.
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
        self._raw, self._reader = raw, csv.reader(text)
        try:
            self.header = next(self._reader, [])
        except csv.Error as error:
            raise UnreadableFile(f"it is no CSV file: {error}") from error
        names = [name.strip().lower() for name in self.header]
        self._places = {name: place for place, name in enumerate(names)}
        needed = COLUMNS if has_owner else (*COLUMNS, OWNER)
        missing = [name for name in needed if name not in self._places]
        if missing:
            hint = " (or give --owner)" if missing == [OWNER] else ""
            raise UnreadableFile(f"it has no column {', '.join(missing)}{hint}")
        twice = sorted({name for name in names if names.count(name) > 1 and name in needed})
        if twice:
            raise UnreadableFile(f"it has two columns {', '.join(twice)}")

    @property
    def bytes(self) -> int:
        return os.fstat(self._raw.fileno()).st_size

    @property
    def bytes_read(self) -> int:
        return self._raw.tell()

    def __iter__(self) -> Iterator[FileRow]:
        while True:
            line = self._reader.line_num + 1
            try:
                cells = next(self._reader, None)
            except csv.Error as error:
                yield FileRow(line, [], "", {}, f"is no CSV: {error}")
                continue
            if cells is None:
                return
            if any(cells):
                yield self._row(line, cells)

    def _row(self, line: int, cells: list[str]) -> FileRow:
        reason = None
        if len(cells) != len(self.header):
            reason = f"the row has {len(cells)} cells, the header {len(self.header)}"
        elif any(UNSTORABLE.search(cell) for cell in cells):
            reason = "the row is not UTF-8 text"
        if reason is not None:
            return FileRow(line, cells, "", {}, reason)
        said = {name: cells[place].strip() for name, place in self._places.items()}
        values, problems = read_values(said)
        reason = "; ".join(problem.message for problem in problems) or None
        return FileRow(line, cells, said.get(OWNER, ""), values, reason)


def read_values(said: dict[str, str]) -> tuple[dict[str, Any], list[InputProblem]]:
    """What the cells of a row mean, and everything that is wrong with them."""
    problems = [*name_problems(("store",), said["store"])]
    problems += name_problems(("product",), said["product"])
    description, zone = said["description"] or None, said["time_zone"] or None
    if description is not None:
        problems += description_problems(("description",), description)
    if zone is not None:
        problems += time_zone_problems(("time_zone",), zone)
    place = [_number(said, name, FLOAT, float, problems) for name in ("latitude", "longitude")]
    on_hand = _number(said, "stock", WHOLE, int, problems)
    price = _number(said, "base_price", DECIMAL, Decimal, problems)
    if None not in place:
        problems += location_problems((), (place[0], place[1]))
    if on_hand is not None:
        problems += stock_problems(("stock",), on_hand)
    if price is not None:
        problems += price_problems(("base_price",), price)
    values = {
        "store": said["store"],
        "location": tuple(place),
        "time_zone": zone,
        "product": said["product"],
        "description": description,
        "on_hand": on_hand,
        "base_price": price,
    }
    return values, problems


def _number(
    said: dict[str, str],
    name: str,
    form: re.Pattern[str],
    kind: Any,
    problems: list[InputProblem],
) -> Any:
    cell = said[name]
    if form.fullmatch(cell):
        return kind(cell)
    if not cell:
        problems.append(InputProblem("REQUIRED", (name,), f"{name} is required"))
        return None
    what = "whole number" if kind is int else "number such as 12.50"
    message = f"{name} must be a {what}, got '{cell[:MOST_SHOWN]}'"
    problems.append(InputProblem("INVALID", (name,), message))
    return None


class RefusedRows:
    """Writes refused rows beside their line and reason. No file is left where none was refused."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        """Raises OSError where nothing can be written."""
        self.path, self.count = path, 0
        self._file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow(["line", "reason", *header])

    def add(self, line: int, reason: str, cells: Sequence[str]) -> None:
        self._rows.writerow([line, reason, *cells])
        self.count += 1

    def close(self) -> None:
        self._file.close()
        if not self.count:
            self.path.unlink()
