"""How instants and exact decimals look on the wire."""

from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

MAX_DECIMAL_DIGITS = 32


def write_instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("an instant without a zone must not leave the server")
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


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
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("DateTime is out of range") from error


def read_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError("Decimal must be a string or a number")
    written = str(value)
    if len(written) > MAX_DECIMAL_DIGITS:
        raise ValueError(f"Decimal has more than {MAX_DECIMAL_DIGITS} digits")
    try:
        number = Decimal(written)
    except InvalidOperation as error:
        raise ValueError("Decimal must be a decimal number such as '12.50'") from error
    if not number.is_finite():
        raise ValueError("Decimal must be finite")
    return number


def read_date(value: Any) -> date:
    if not isinstance(value, str) or len(value) != len("2025-06-05"):
        raise TypeError("Date must be a string YYYY-MM-DD")
    return date.fromisoformat(value)


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
