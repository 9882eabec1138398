"""A shop's own rows from a CSV file, checked feature by feature like any payload."""

import csv
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.features import Feature, FeatureType, FeatureValue, Spec, check_features, shown
from ml.tables import Table

MAX_ROWS = 2_000_000
MAX_REPORTED = 100
_TRUE = frozenset({"1", "true", "yes"})
_FALSE = frozenset({"0", "false", "no"})


class InvalidFile(ValueError):
    """A file that is no table of these features at all; `columns` are the ones it lacks."""

    def __init__(self, message: str, columns: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.columns = columns


@dataclass(frozen=True, slots=True)
class RefusedValue:
    """`line` counts from 1 with the header, as a text editor shows it."""

    line: int
    column: str
    message: str


@dataclass(frozen=True)
class CsvTable:
    """`refused_rows` were left out; `refused` tells why for the first MAX_REPORTED values."""

    table: Table
    refused_rows: int
    refused: tuple[RefusedValue, ...]


def read_csv_file(path: Path, spec: Spec, *, label: str, time_column: str | None) -> CsvTable:
    """read_csv of a UTF-8 file. Raises OSError, and InvalidFile for another encoding."""
    # utf-8-sig: spreadsheets put a byte order mark before the first column's name
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            return read_csv(file, spec, label=label, time_column=time_column)
        except UnicodeDecodeError as error:
            raise InvalidFile(f"{path.name} is not UTF-8 text") from error


def read_csv(
    lines: Iterable[str], spec: Spec, *, label: str, time_column: str | None = None
) -> CsvTable:
    """Rows with a column for every feature, an outcome of 0 or 1 in `label` and, if the file has
    it, an ISO 8601 instant in `time_column` (UTC where it names no zone). Other columns are
    ignored. An empty cell is a missing value.

    Memory grows with the numbers kept, not with the text. Raises InvalidFile for a file without
    the needed columns, with more than MAX_ROWS rows, or that is no CSV.
    """
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        columns = _Columns(spec, header, label, time_column)
        for cells in reader:
            if cells:
                columns.add(reader.line_num, cells)
    except csv.Error as error:
        raise InvalidFile(f"line {reader.line_num}: {error}") from error
    return columns.result()


@dataclass
class _Refusals:
    rows: int = 0
    values: list[RefusedValue] = field(default_factory=list)

    def add(self, line: int, problems: Iterable[tuple[str, str]]) -> None:
        self.rows += 1
        room = MAX_REPORTED - len(self.values)
        self.values += [RefusedValue(line, *problem) for problem in problems][:room]


class _Columns:
    """Collects the accepted rows, eight bytes a number."""

    def __init__(self, spec: Spec, header: list[str], label: str, time_column: str | None) -> None:
        _require_columns(spec, header, label)
        self._spec = spec
        self._width = len(header)
        self._places = {name: place for place, name in enumerate(header)}
        self._label = label
        self._time = time_column if time_column in self._places else None
        self._numbers = {f.name: array("d") for f in spec if f.type is not FeatureType.STRING}
        self._strings: dict[str, list[str | None]] = {
            f.name: [] for f in spec if f.type is FeatureType.STRING
        }
        # equal strings are kept once: a city of a million rows is one object
        self._words: dict[str, str] = {}
        self._target, self._times = array("b"), array("d")
        self._refusals = _Refusals()

    def add(self, line: int, cells: list[str]) -> None:
        if len(self._target) >= MAX_ROWS:
            raise InvalidFile(f"line {line}: more than {MAX_ROWS} rows")
        if len(cells) != self._width:
            message = f"the row has {len(cells)} cells, the header {self._width}"
            self._refusals.add(line, [("", message)])
            return
        payload = {f.name: _parse(f, cells[self._places[f.name]].strip()) for f in self._spec}
        problems = [(p.feature, p.message) for p in check_features(self._spec, payload)]
        outcome = _flag(cells[self._places[self._label]].strip())
        if outcome is None:
            problems.append((self._label, f"{self._label} must be 0 or 1"))
        seconds = self._seconds(cells)
        if seconds is None:
            problems.append((str(self._time), f"{self._time} must be an ISO 8601 instant"))
        if problems or outcome is None or seconds is None:
            self._refusals.add(line, problems)
            return
        self._keep(payload, outcome, seconds)

    def _keep(self, payload: Mapping[str, FeatureValue], outcome: bool, seconds: float) -> None:
        for name, numbers in self._numbers.items():
            value = payload[name]
            numbers.append(math.nan if value is None else float(value))
        for name, strings in self._strings.items():
            word = payload[name]
            strings.append(None if word is None else self._words.setdefault(str(word), str(word)))
        self._target.append(outcome)
        self._times.append(seconds)

    def _seconds(self, cells: list[str]) -> float | None:
        """0 where the file has no times; None where the cell is not one."""
        if self._time is None:
            return 0.0
        with suppress(ValueError, OverflowError):
            instant = datetime.fromisoformat(cells[self._places[self._time]].strip())
            aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            return aware.timestamp()
        return None

    def result(self) -> CsvTable:
        columns: dict[str, NDArray[Any]] = {}
        for feature in self._spec:
            name = feature.name
            if feature.type is FeatureType.STRING:
                columns[name] = np.array(self._strings[name], dtype=object)
            else:
                columns[name] = np.array(self._numbers[name], dtype=np.float64)
        table = Table(
            columns,
            np.array(self._target, dtype=np.int64),
            None if self._time is None else np.array(self._times, dtype=np.float64),
        )
        return CsvTable(table, self._refusals.rows, tuple(self._refusals.values))


def _require_columns(spec: Spec, header: list[str], label: str) -> None:
    if len(set(header)) != len(header):
        twice = sorted(name for name, times in Counter(header).items() if times > 1)
        raise InvalidFile(f"columns that are there twice: {shown(', '.join(twice))}")
    needed = [feature.name for feature in spec] + [label]
    absent = tuple(name for name in needed if name not in header)
    if absent:
        raise InvalidFile(f"the file has no column {', '.join(absent)}", absent)


def _parse(feature: Feature, cell: str) -> FeatureValue:
    """The cell as the feature's type; as text, which check_features refuses, where it is not."""
    if not cell:
        return None
    if feature.type is FeatureType.INT:
        with suppress(ValueError):
            return int(cell)
    if feature.is_numeric:
        # a spreadsheet writes 3 as 3.0; whether it is whole is checked with its range
        with suppress(ValueError):
            return float(cell)
    if feature.type is FeatureType.BOOLEAN:
        flag = _flag(cell)
        return cell if flag is None else flag
    return cell


def _flag(cell: str) -> bool | None:
    lowered = cell.lower()
    return True if lowered in _TRUE else False if lowered in _FALSE else None
