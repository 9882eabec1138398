"""How instants and exact decimals look on the wire."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

MAX_DECIMAL_DIGITS = 32
DECIMAL_FORM = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
"""Python's own reading also takes `1_000` and the digits of other scripts."""
FIRST_YEAR, LAST_YEAR = 1900, 2999
"""The ends of Python's calendar are what the database driver stores as infinite, and no clock of
this world is in need of them."""


def write_instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("an instant without a zone must not leave the server")
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def in_bounds(day: date) -> bool:
    """Whether a date, or an instant in UTC, is in a year that is accepted."""
    return FIRST_YEAR <= day.year <= LAST_YEAR


def read_instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise TypeError("DateTime must be a string such as '2025-06-05T10:30:45Z'")
    try:
        instant = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("DateTime must be ISO 8601, such as '2025-06-05T10:30:45Z'") from error
    if instant.tzinfo is None:
        raise ValueError("DateTime needs a zone, such as the Z in '2025-06-05T10:30:45Z'")
    try:
        utc = instant.astimezone(UTC)
    except OverflowError:
        utc = None
    if utc is None or not in_bounds(utc):
        raise ValueError(f"DateTime must be in the years {FIRST_YEAR} to {LAST_YEAR}, in UTC")
    return utc


def read_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError("Decimal must be a string or a number")
    written = str(value)
    if len(written) > MAX_DECIMAL_DIGITS:
        raise ValueError(f"Decimal has more than {MAX_DECIMAL_DIGITS} digits")
    if not DECIMAL_FORM.fullmatch(written):
        raise ValueError("Decimal must be a decimal number such as '12.50'")
    return Decimal(written)


def read_date(value: Any) -> date:
    if not isinstance(value, str) or len(value) != len("2025-06-05"):
        raise TypeError("Date must be a string YYYY-MM-DD")
    day = date.fromisoformat(value)
    if not in_bounds(day):
        raise ValueError(f"Date must be in the years {FIRST_YEAR} to {LAST_YEAR}")
    return day


def read_uuid(value: Any) -> UUID:
    if not isinstance(value, str):
        raise TypeError("UUID must be a string")
    return UUID(value)


DATE_TIME = strawberry.scalar(
    name="DateTime",
    description="ISO 8601 instant, always UTC ('2025-06-05T10:30:45.123456Z').",
    serialize=write_instant,
    parse_value=read_instant,
)
DECIMAL = strawberry.scalar(
    name="Decimal",
    description="Exact decimal, a string on the wire; string or int literal as input; "
    "at most 2 fraction digits for money and credits.",
    serialize=str,
    parse_value=read_decimal,
)
DATE = strawberry.scalar(
    name="Date",
    description="Calendar date YYYY-MM-DD.",
    serialize=date.isoformat,
    parse_value=read_date,
)
JSON_MAP = strawberry.scalar(
    name="JSON",
    description="Open map. Feature maps are checked on the server against Model.features.",
    serialize=lambda value: value,
    parse_value=lambda value: value,
)
UNIQUE_ID = strawberry.scalar(
    name="UUID",
    description="RFC 9562 UUID in its usual form of 36 characters.",
    serialize=str,
    parse_value=read_uuid,
)

SCALARS: dict[object, ScalarDefinition] = {
    datetime: DATE_TIME,
    date: DATE,
    Decimal: DECIMAL,
    UUID: UNIQUE_ID,
    JSON: JSON_MAP,
}
