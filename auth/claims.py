"""What a token says, once its signature is known to be good."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from auth.errors import Unauthenticated

REQUIRED = ("exp", "iat", "sub", "aud", "iss")
LEEWAY_SECONDS = 10.0
"""For an issuer whose clock is ahead of ours (`nbf`, `iat`). `exp` has none: over is over."""
LONGEST_EMAIL = 254
YEAR_9999 = 253_402_300_799


@dataclass(frozen=True)
class Claims:
    """`email` is what the issuer says; nobody may be recognised by it."""

    subject: UUID
    issuer: str
    email: str | None
    expires_at: datetime


def read_claims(payload: Mapping[str, Any], issuer: str, audience: str, now: datetime) -> Claims:
    """Raises Unauthenticated."""
    missing = [name for name in REQUIRED if payload.get(name) is None]
    if missing:
        raise Unauthenticated(f"The access token has no {missing[0]} claim.")
    if payload["iss"] != issuer:
        raise Unauthenticated("The access token's issuer is unknown.")
    if not _is_for(payload["aud"], audience):
        raise Unauthenticated("The access token is meant for another audience.")
    expires = _check_times(payload, now.timestamp())
    return Claims(_subject(payload["sub"]), issuer, _email(payload.get("email")), expires)


def _check_times(payload: Mapping[str, Any], now: float) -> datetime:
    expires = _moment(payload, "exp")
    if expires <= now:
        raise Unauthenticated("The access token has expired.")
    begins = max(_moment(payload, name) for name in ("iat", "nbf") if name in payload)
    if begins > now + LEEWAY_SECONDS:
        raise Unauthenticated("The access token is not valid yet.")
    return datetime.fromtimestamp(expires, UTC)


def _moment(payload: Mapping[str, Any], name: str) -> float:
    value = payload[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # The comparison first: an integer of a thousand digits has no float.
    if not number or not (0 <= value <= YEAR_9999) or not math.isfinite(value):
        raise Unauthenticated(f"The access token's {name} claim is not a time.")
    return float(value)


def _is_for(claimed: object, audience: str) -> bool:
    return claimed == audience or (isinstance(claimed, list) and audience in claimed)


def _subject(value: object) -> UUID:
    """The canonical form only: `UUID()` also takes braces, URNs and digits without dashes."""
    try:
        subject = UUID(value if isinstance(value, str) else "")
    except ValueError:
        subject = None
    if subject is None or str(subject) != str(value).lower():
        raise Unauthenticated("The access token's subject is not a UUID.")
    return subject


def _email(value: object) -> str | None:
    """None for anything that could not be stored and shown as it is."""
    plain = isinstance(value, str) and 0 < len(value) <= LONGEST_EMAIL and value.isprintable()
    return value if plain and isinstance(value, str) else None
