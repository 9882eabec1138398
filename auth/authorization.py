"""The `Authorization` header. Everything in it is hostile until proved otherwise."""

import re
from base64 import b64decode
from dataclasses import dataclass, field

from auth.errors import Unauthenticated

LONGEST_TOKEN = 8_192
"""Characters. Provider tokens with many claims have 1,000 to 3,000."""

TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)


@dataclass(frozen=True)
class Bearer:
    token: str = field(repr=False)


@dataclass(frozen=True)
class Basic:
    username: str = field(repr=False)
    password: str = field(repr=False)


def parse_authorization(value: str | None) -> Bearer | Basic | None:
    """None when the header is absent or blank. Raises Unauthenticated when it is malformed."""
    if value is None or not value.strip():
        return None
    scheme, _, rest = value.strip().partition(" ")
    credentials = rest.strip()
    if len(credentials) > LONGEST_TOKEN or not TOKEN68.fullmatch(credentials):
        raise Unauthenticated("The Authorization header is malformed.")
    match scheme.lower():
        case "bearer":
            return Bearer(credentials)
        case "basic":
            return _basic(credentials)
    raise Unauthenticated("The Authorization header has an unknown scheme: use Bearer.")


def _basic(credentials: str) -> Basic:
    try:
        username, colon, password = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        colon = username = password = ""
    # RFC 7617 forbids control characters, and PostgreSQL refuses text with a NUL.
    if not colon or not username.isprintable():
        raise Unauthenticated("The Basic credentials are malformed.")
    return Basic(username, password)
