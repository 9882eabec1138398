"""Trains the attendance model, on generated buyers or on a shop's own rows."""

from pathlib import Path

from ml.attendance.generator import generate
from ml.attendance.spec import ATTENDANCE_SPEC, KEY, LABEL, TIME_COLUMN
from ml.csv_tables import CsvTable, read_csv_file
from ml.tables import Table
from ml.training import Progress, TrainedModel, no_progress, train

GENERATED_ROWS = 20_000


def train_attendance(
    rows: Table | None = None, seed: int = 0, progress: Progress = no_progress
) -> TrainedModel:
    """`rows` as read_attendance_csv reads them; None: GENERATED_ROWS of the generator's buyers.

    Raises NotEnoughData.
    """
    table = generate(GENERATED_ROWS, seed).table if rows is None else rows
    return train(table, ATTENDANCE_SPEC, key=KEY, seed=seed, progress=progress)


def read_attendance_csv(path: Path) -> CsvTable:
    """The 14 inputs, `attended` (0 or 1) and, optional, `observed_at` (ISO 8601).

    Raises OSError and InvalidFile.
    """
    return read_csv_file(path, ATTENDANCE_SPEC, label=LABEL, time_column=TIME_COLUMN)
