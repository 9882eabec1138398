"""What a product, a store and a stock row may say: pure checks, the same for API and import."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from db.errors import InputProblem, InputRejected, NotOwner, Path

LONGEST_NAME = 200
LONGEST_DESCRIPTION = 2_000
LONGEST_REASON = 500
MOST_UNITS = 2**31 - 1
HIGHEST_PRICE = Decimal("999999999999.99")
FRACTION_DIGITS = 2
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
CONTROL = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
"""Not `isprintable`, which refuses the joiners that Persian and family emoji are written with."""

Values = Mapping[str, Any]
"""What was said of a thing, by column: a key that is missing was left out, None was said."""
Check = Callable[[Path, Any], Iterator[InputProblem]]


@dataclass(frozen=True, slots=True)
class Part:
    """`name` is the API's; `optional` may be left out when the thing is made."""

    name: str
    check: Check
    nullable: bool = False
    optional: bool = False


def _is_visible(character: str) -> bool:
    """Not for blanks, nor for what only tells others how to look (a joiner, an override)."""
    return not character.isspace() and unicodedata.category(character) != "Cf"


def name_problems(path: Path, value: str) -> Iterator[InputProblem]:
    if not any(map(_is_visible, value)):
        yield InputProblem("REQUIRED", path, f"{path[-1]} is required")
    elif len(value.strip()) > LONGEST_NAME:
        message = f"{path[-1]} may have {LONGEST_NAME} characters at most"
        yield InputProblem("OUT_OF_RANGE", path, message)
    elif CONTROL.search(value.strip()):
        yield InputProblem("INVALID", path, f"{path[-1]} may not contain control characters")


def text_problems(path: Path, value: str, longest: int) -> Iterator[InputProblem]:
    if len(value) > longest:
        message = f"{path[-1]} may have {longest} characters at most"
        yield InputProblem("OUT_OF_RANGE", path, message)
    if UNSTORABLE.search(value):
        yield InputProblem("INVALID", path, f"{path[-1]} must be UTF-8 text without NUL")


def description_problems(path: Path, value: str) -> Iterator[InputProblem]:
    yield from text_problems(path, value, LONGEST_DESCRIPTION)


def location_problems(path: Path, value: tuple[float, float]) -> Iterator[InputProblem]:
    """`value` is (latitude, longitude) in degrees."""
    for degrees, name, limit in zip(value, ("latitude", "longitude"), (90, 180), strict=True):
        if not -limit <= degrees <= limit:  # NaN is refused as well
            message = f"{name} must be between -{limit} and {limit}, got {degrees}"
            yield InputProblem("OUT_OF_RANGE", (*path, name), message)


@cache
def _time_zones() -> frozenset[str]:
    """Read from the disk once: an import asks for every row."""
    return frozenset(available_timezones())


def time_zone_problems(path: Path, value: str) -> Iterator[InputProblem]:
    if value not in _time_zones():
        message = f"{path[-1]} must be an IANA time zone such as America/Bogota"
        yield InputProblem("INVALID", path, message)


def stock_problems(path: Path, value: int) -> Iterator[InputProblem]:
    if not 0 <= value <= MOST_UNITS:
        message = f"{path[-1]} must be between 0 and {MOST_UNITS}, got {value}"
        yield InputProblem("OUT_OF_RANGE", path, message)


def price_problems(path: Path, value: Decimal) -> Iterator[InputProblem]:
    if not 0 <= value <= HIGHEST_PRICE:
        message = f"{path[-1]} must be between 0 and {HIGHEST_PRICE}, got {value}"
        yield InputProblem("OUT_OF_RANGE", path, message)
    elif value != round(value, FRACTION_DIGITS):
        message = f"{path[-1]} may have {FRACTION_DIGITS} fraction digits, got {value}"
        yield InputProblem("OUT_OF_RANGE", path, message)


def id_problems(path: Path, value: int) -> Iterator[InputProblem]:
    """Whether there is such a thing is the transaction's to say."""
    yield from ()


PRODUCT = {
    "name": Part("name", name_problems),
    "description": Part("description", description_problems, nullable=True, optional=True),
}
STORE = {
    "name": Part("name", name_problems),
    "location": Part("location", location_problems),
    "time_zone": Part("timeZone", time_zone_problems, optional=True),
}
STORE_PRODUCT = {
    "store_id": Part("storeId", id_problems),
    "product_id": Part("productId", id_problems),
    "on_hand": Part("stock", stock_problems),
    "base_price": Part("basePrice", price_problems),
}


def problems(
    parts: Mapping[str, Part], values: Values, *, making: bool, root: Path = ("input",)
) -> Iterator[InputProblem]:
    """Everything that is wrong with the values of a thing that is made, or else changed."""
    for key, part in parts.items():
        path = (*root, part.name)
        value = values.get(key)
        if value is not None:
            yield from part.check(path, value)
        elif not part.optional if making else (key in values and not part.nullable):
            yield InputProblem("REQUIRED", path, f"{part.name} is required")


def checked(parts: Mapping[str, Part], values: Values, *, making: bool) -> dict[str, Any]:
    """The values as they are kept. Raises InputRejected with everything that is wrong."""
    found = list(problems(parts, values, making=making))
    if found:
        raise InputRejected(found)
    kept = dict(values)
    if "name" in kept:
        kept["name"] = kept["name"].strip()
    return kept


def require_owner(owner_id: UUID | None, by: UUID, *, is_admin: bool) -> None:
    """Raises NotOwner."""
    if owner_id != by and not is_admin:
        raise NotOwner
