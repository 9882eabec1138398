"""What a promo may say of itself: plain rules, each broken one named at its argument."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from db.errors import InputProblem
from db.models.promos import (
    LARGEST_RADIUS_METERS,
    LONGEST_HOLD_SECONDS,
    SMALLEST_RADIUS_METERS,
    Segment,
)

Terms = Mapping[str, Any]
"""What was said, by column of `flash_promos`; what was not said is left out."""

ARGUMENTS = {
    "store_product_id": ("storeProductId",),
    "starts_at": ("startsAt",),
    "ends_at": ("endsAt",),
    "segments": ("segments",),
    "radius_m": ("radiusMeters",),
    "discount_percent": ("discountPercent",),
    "quota": ("quota",),
    "max_per_user": ("maxPerUser",),
    "hold_seconds": ("holdSeconds",),
    "enforce_audience": ("enforceAudience",),
    "admission_mode": ("admissionPolicy",),
    "admit_above": ("admissionPolicy", "admitAbove"),
    "deny_below": ("admissionPolicy", "denyBelow"),
}
NEEDED = ("store_product_id", "starts_at", "ends_at")
CLEARABLE = frozenset({"quota", "max_per_user"})
DISCOUNT_DIGITS = 2

WHOLE_RANGES = {
    "quota": (1, None),
    "max_per_user": (1, None),
    "hold_seconds": (1, LONGEST_HOLD_SECONDS),
}


def problem(code: str, name: str, message: str) -> InputProblem:
    """`message` goes on where the name of the argument ends."""
    path = ARGUMENTS[name]
    return InputProblem(code, ("input", *path), f"{path[-1]} {message}")


def missing_terms(terms: Terms) -> Iterator[InputProblem]:
    """What a new promo can't do without."""
    for name in NEEDED:
        if name not in terms:
            yield problem("REQUIRED", name, "is required")


def term_problems(terms: Terms) -> Iterator[InputProblem]:
    """What is wrong with the values themselves: REQUIRED (null), OUT_OF_RANGE."""
    for name, value in terms.items():
        if value is None and name not in CLEARABLE:
            yield problem("REQUIRED", name, "can't be null")
    given = {name: value for name, value in terms.items() if value is not None}
    for name, (least, most) in WHOLE_RANGES.items():
        if name in given and not least <= given[name] <= (most or given[name]):
            limit = f"between {least} and {most}" if most else f"at least {least}"
            yield problem("OUT_OF_RANGE", name, f"must be {limit}, got {given[name]}")
    yield from _radius_problems(given)
    yield from _discount_problems(given)
    yield from _admission_problems(given)


def _radius_problems(given: Terms) -> Iterator[InputProblem]:
    radius = given.get("radius_m", LARGEST_RADIUS_METERS)
    if not SMALLEST_RADIUS_METERS <= radius <= LARGEST_RADIUS_METERS:  # NaN is refused as well
        limit = f"between {SMALLEST_RADIUS_METERS} and {LARGEST_RADIUS_METERS}"
        yield problem("OUT_OF_RANGE", "radius_m", f"must be {limit}, got {radius}")


def _discount_problems(given: Terms) -> Iterator[InputProblem]:
    percent = given.get("discount_percent", Decimal(0))
    if not (percent.is_finite() and 0 <= percent <= 100):  # noqa: PLR2004 - percent
        message = f"must be between 0 and 100, got {percent}"
        yield problem("OUT_OF_RANGE", "discount_percent", message)
    elif percent != round(percent, DISCOUNT_DIGITS):
        message = f"may have {DISCOUNT_DIGITS} fraction digits at most, got {percent}"
        yield problem("OUT_OF_RANGE", "discount_percent", message)


def _admission_problems(given: Terms) -> Iterator[InputProblem]:
    bounds = {name: given[name] for name in ("admit_above", "deny_below") if name in given}
    outside = {name: value for name, value in bounds.items() if not 0 <= value <= 1}
    for name, value in outside.items():
        yield problem("OUT_OF_RANGE", name, f"must be between 0 and 1, got {value}")
    if bounds and not outside and bounds["deny_below"] > bounds["admit_above"]:
        message = f"must be at most admitAbove, which is {bounds['admit_above']}"
        yield problem("OUT_OF_RANGE", "deny_below", message)


def schedule_problems(terms: Terms, whole: Terms, now: datetime) -> Iterator[InputProblem]:
    """INVALID_SCHEDULE: `terms` are what is said now, `whole` what will then hold altogether."""
    given = [name for name in ("ends_at", "starts_at") if terms.get(name) is not None]
    starts_at, ends_at = whole.get("starts_at"), whole.get("ends_at")
    if not given or starts_at is None or ends_at is None:
        return
    if ends_at <= starts_at:
        order = "must be after startsAt" if given[0] == "ends_at" else "must be before endsAt"
        yield problem("INVALID_SCHEDULE", given[0], order)
    elif "ends_at" in given and ends_at < now:
        yield problem("INVALID_SCHEDULE", "ends_at", "must not be in the past")


def folded(terms: Terms) -> dict[str, Any]:
    """The terms with each segment once, in their own order."""
    if "segments" not in terms:
        return dict(terms)
    return {**terms, "segments": [one.value for one in Segment if one in terms["segments"]]}
