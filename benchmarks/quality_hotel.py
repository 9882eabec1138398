"""The hotel bookings of Antonio, de Almeida and Nunes (2019) as a table to train on.

Only columns that are known when the booking is made. Left out because they are the outcome or
are filled in later: reservation_status, reservation_status_date, assigned_room_type,
booking_changes, required_car_parking_spaces, country, days_in_waiting_list,
total_of_special_requests.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ml.features import Feature, FeatureType, Spec, check_spec
from ml.splits import Split
from ml.tables import Table

FILE = Path("hotel_bookings/hotel_bookings.parquet")
CUT = np.datetime64("2016-10-01")
"""Train on what was booked and decided before, test on what was booked after."""

# fmt: off
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)
# fmt: on
_NUMBERS = (
    "lead_time",
    "stays_in_weekend_nights",
    "stays_in_week_nights",
    "adults",
    "children",
    "babies",
    "is_repeated_guest",
    "previous_cancellations",
    "previous_bookings_not_canceled",
    "adr",
)
_DERIVED = ("arrival_weekday", "nights", "total_price", "price_per_guest", "cancelled_share")
_STRINGS = (
    "hotel",
    "meal",
    "market_segment",
    "distribution_channel",
    "reserved_room_type",
    "deposit_type",
    "customer_type",
    "agent",
    "company",
)

HOTEL_SPEC: Spec = check_spec(
    [Feature(name, FeatureType.FLOAT, required=False) for name in (*_NUMBERS, *_DERIVED)]
    + [Feature(name, FeatureType.STRING, required=False) for name in _STRINGS]
)


def read_hotel(data: Path) -> tuple[Table, Split]:
    """Target 1 = cancelled. Groups are bookings equal in everything that is known of them."""
    file = pq.read_table(data / FILE)
    raw = {name: file[name].to_numpy(zero_copy_only=False) for name in file.column_names}
    arrival = _arrival(raw)
    booked = arrival - raw["lead_time"].astype("timedelta64[D]")
    decided = raw["reservation_status_date"].astype("datetime64[D]")
    columns = _columns(raw, arrival)
    table = Table(
        columns,
        raw["is_canceled"].astype(np.int64),
        times=booked.astype(np.float64),
        groups=_groups(columns, arrival),
    )
    before = np.flatnonzero((booked < CUT) & (decided < CUT))
    return table, Split(before, np.flatnonzero(booked >= CUT))


def _arrival(raw: dict[str, NDArray[Any]]) -> NDArray[np.datetime64]:
    months = {name: number for number, name in enumerate(_MONTHS, start=1)}
    parts = zip(
        raw["arrival_date_year"],
        raw["arrival_date_month"],
        raw["arrival_date_day_of_month"],
        strict=True,
    )
    return np.array(
        [f"{year:04d}-{months[month]:02d}-{day:02d}" for year, month, day in parts],
        dtype="datetime64[D]",
    )


def _columns(
    raw: dict[str, NDArray[Any]], arrival: NDArray[np.datetime64]
) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {name: raw[name].astype(np.float64) for name in _NUMBERS}
    nights = columns["stays_in_weekend_nights"] + columns["stays_in_week_nights"]
    guests = columns["adults"] + np.nan_to_num(columns["children"]) + columns["babies"]
    kept = columns["previous_bookings_not_canceled"]
    columns["arrival_weekday"] = arrival.astype(np.int64) % 7 * 1.0
    columns["nights"] = nights
    columns["total_price"] = columns["adr"] * nights
    columns["price_per_guest"] = columns["adr"] / np.maximum(guests, 1)
    columns["cancelled_share"] = columns["previous_cancellations"] / (
        columns["previous_cancellations"] + kept + 1
    )
    for name in _STRINGS:
        columns[name] = np.array(
            [None if value is None or value != value else str(value) for value in raw[name]],  # noqa: PLR0124 - NaN
            dtype=object,
        )
    return columns


def _groups(columns: dict[str, NDArray[Any]], arrival: NDArray[np.datetime64]) -> NDArray[np.int64]:
    rows = zip(arrival.tolist(), *(column.tolist() for column in columns.values()), strict=True)
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(repr(row), len(numbers)) for row in rows])
