"""A shop's own rows from CSV text."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ml import csv_tables
from ml.attendance.spec import ATTENDANCE_SPEC, EXAMPLE_ATTENDEE
from ml.attendance.training import read_attendance_csv
from ml.csv_tables import MAX_REPORTED, CsvTable, InvalidFile, read_csv
from ml.features import Feature, FeatureType

SPEC = (
    Feature("age", FeatureType.INT, minimum=0, maximum=120),
    Feature("rate-of-use", FeatureType.FLOAT, required=False),
    Feature("member", FeatureType.BOOLEAN, required=False),
    Feature("town", FeatureType.STRING, required=False),
)
HEADER = "age,rate-of-use,member,town,attended"


def read(*rows: str, header: str = HEADER, time_column: str | None = None) -> CsvTable:
    lines = [f"{line}\n" for line in (header, *rows)]
    return read_csv(lines, SPEC, label="attended", time_column=time_column)


def refusal(row: str) -> tuple[int, str, str]:
    result = read("30,0.5,true,Lima,1", row)
    assert (len(result.table), result.refused_rows) == (1, 1)
    [refused] = result.refused
    return refused.line, refused.column, refused.message


def test_cells_become_columns_of_their_type() -> None:
    table = read("30,0.5,true,Lima,1", "41,2,no,Quito,0").table
    assert table.columns["age"].tolist() == [30.0, 41.0]
    assert table.columns["rate-of-use"].tolist() == [0.5, 2.0]
    assert table.columns["member"].tolist() == [1.0, 0.0]
    assert table.columns["town"].tolist() == ["Lima", "Quito"]
    assert table.target.tolist() == [1, 0]
    assert table.times is None


def test_an_empty_cell_is_missing() -> None:
    table = read("30,,,,1").table
    assert np.isnan(table.columns["rate-of-use"][0])
    assert np.isnan(table.columns["member"][0])
    assert table.columns["town"].tolist() == [None]


def test_the_order_of_columns_does_not_matter_and_others_are_ignored() -> None:
    result = read("1,x,Lima,30,yes,0.5", header="attended,note,town,age,member,rate-of-use")
    assert result.table.columns["age"].tolist() == [30.0]
    assert set(result.table.columns) == {"age", "rate-of-use", "member", "town"}


def test_quotes_blank_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    names = [feature.name for feature in ATTENDANCE_SPEC]
    cells = [f'"{EXAMPLE_ATTENDEE[name]}"' for name in names]
    text = f"{','.join([*names, 'attended', 'observed_at'])}\r\n\r\n"
    text += f"{','.join([*cells, '1', '2026-01-02T03:04:05Z'])}\r\n"
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    result = read_attendance_csv(path)
    assert result.refused == ()
    assert result.table.columns["email"].tolist() == ["maria.perez@example.com"]
    assert result.table.times is not None
    assert result.table.times.tolist() == [1767323045.0]


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ("140,0.5,true,Lima,1", "age", "age must be between 0 and 120, got 140"),
        ("x,0.5,true,Lima,1", "age", "age must be a whole number"),
        ("30.5,0.5,true,Lima,1", "age", "age must be a whole number, got 30.5"),
        (",0.5,true,Lima,1", "age", "age is required and missing"),
        ("30,nan,true,Lima,1", "rate-of-use", "rate-of-use must be a finite number"),
        ("30,1e999,true,Lima,1", "rate-of-use", "rate-of-use must be a finite number"),
        ("30,0.5,perhaps,Lima,1", "member", "member must be true or false"),
        (f"30,0.5,true,{'a' * 300},1", "town", "town must have at most 256 characters"),
        ("30,0.5,true,Lima,2", "attended", "attended must be 0 or 1"),
        ("30,0.5,true,Lima,", "attended", "attended must be 0 or 1"),
        ("30,0.5,true", "", "the row has 3 cells, the header 5"),
    ],
)
def test_a_refused_row_is_named_with_line_column_and_limit(
    row: str, column: str, message: str
) -> None:
    assert refusal(row) == (3, column, message)


def test_instants_are_utc_where_they_name_no_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Santiago")
    time.tzset()
    header = f"{HEADER},at"
    rows = [f"30,,,,1,{at}" for at in ("1970-01-01T01:00:00", "1970-01-01T01:00:00+01:00")]
    table = read(*rows, header=header, time_column="at").table
    assert table.times is not None
    monkeypatch.undo()
    time.tzset()
    assert table.times.tolist() == [3600.0, 0.0]


def test_an_instant_that_is_none_refuses_its_row() -> None:
    result = read("30,,,,1,yesterday", header=f"{HEADER},at", time_column="at")
    assert result.refused[0].column == "at"
    assert len(result.table) == 0


def test_a_file_without_the_time_column_has_no_times() -> None:
    assert read("30,,,,1", time_column="at").table.times is None


def test_absent_columns_are_all_named() -> None:
    with pytest.raises(InvalidFile) as caught:
        read(header="age,note")
    assert caught.value.columns == ("rate-of-use", "member", "town", "attended")


@pytest.mark.parametrize("header", ["", "age,age,rate-of-use,member,town,attended"])
def test_a_file_without_a_usable_header_is_refused(header: str) -> None:
    with pytest.raises(InvalidFile):
        read(header=header)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(InvalidFile):
        read_csv([], SPEC, label="attended")


def test_broken_quotes_are_refused_with_their_line() -> None:
    with pytest.raises(InvalidFile, match="line 2"):
        read('30,0.5,true,"Lima"x,1')


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xff\xfe\x00\x01" * 100)
    with pytest.raises(InvalidFile, match="UTF-8"):
        read_attendance_csv(path)


def test_the_report_is_bounded_and_counts_every_row() -> None:
    result = read(*["-1,,,,1"] * 500)
    assert result.refused_rows == 500
    assert len(result.refused) == MAX_REPORTED


def test_rows_are_read_one_by_one_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_tables, "MAX_ROWS", 10)
    given = 0

    def endless() -> Iterator[str]:
        nonlocal given
        yield f"{HEADER}\n"
        while True:
            given += 1
            yield "30,0.5,true,Lima,1\n"

    with pytest.raises(InvalidFile, match="more than 10 rows"):
        read_csv(endless(), SPEC, label="attended")
    assert given == 11
