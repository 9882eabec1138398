"""Global ids: results carry an opaque id; arguments take that or the raw primary key."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

from schema.edge.faults import BadUserInput

LONGEST_ID = 200
LARGEST_BIGINT = 2**63 - 1


def global_id(type_name: str, key: object) -> str:
    return urlsafe_b64encode(f"{type_name}:{key}".encode()).decode().rstrip("=")


def split_global_id(value: str) -> tuple[str, str] | None:
    """(type name, raw key), or None if this is not one of our global ids."""
    if len(value) > LONGEST_ID:
        return None
    try:
        decoded = urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    type_name, colon, key = decoded.partition(":")
    return (type_name, key) if colon and type_name.isalpha() and type_name.isascii() else None


def raw_key(value: str, type_name: str, argument: str) -> str:
    """The primary key as text. Raises BadUserInput for another type's id."""
    split = split_global_id(value)
    if split is None:
        return value
    if split[0] != type_name:
        raise BadUserInput(
            f"{argument} is the id of a {split[0]}, not of a {type_name}", [argument]
        )
    return split[1]


def integer_key(value: str, type_name: str, argument: str = "id") -> int:
    """Raises BadUserInput unless the key is a whole number from 1 on."""
    key = raw_key(value, type_name, argument)
    if not (key.isascii() and key.isdigit()) or not 1 <= int(key[:20]) <= LARGEST_BIGINT:
        raise BadUserInput(f"{argument} must be the id of a {type_name}", [argument])
    return int(key)


def uuid_key(value: str, type_name: str, argument: str = "id") -> UUID:
    """Raises BadUserInput unless the key is a UUID."""
    try:
        return UUID(raw_key(value, type_name, argument))
    except ValueError as error:
        raise BadUserInput(f"{argument} must be the id of a {type_name}", [argument]) from error
