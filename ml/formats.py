"""Formats that a string feature may ask for. Each check is linear: no backtracking pattern."""

import string

from ml.countries import COUNTRY_CODES

# RFC 5321: 254 characters for the address, 64 for the part before the @, 63 for a label.
_MAX_ADDRESS = 254
_MAX_LOCAL = 64
_MAX_LABEL = 63
_LOCAL_CHARACTERS = frozenset(string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~.-")


def format_problem(name: str, value: str) -> str | None:
    """What is wrong with `value`, as the end of a sentence that starts with the feature's name."""
    if name == "email":
        return None if is_email(value) else "must be an e-mail address such as name@example.com"
    if name == "country":
        if value in COUNTRY_CODES:
            return None
        return "must be a two-letter ISO 3166-1 country code in capitals such as CL"
    raise ValueError(f"unknown format {name!r}")


def is_email(value: str) -> bool:
    """local@domain with a dotted domain; quoted local parts and address literals are refused.

    Letters of any script are accepted on both sides (RFC 6531).
    """
    if len(value) > _MAX_ADDRESS:
        return False
    local, at, domain = value.rpartition("@")
    return bool(at) and _is_local(local) and _is_domain(domain)


def _is_local(local: str) -> bool:
    return (
        0 < len(local) <= _MAX_LOCAL
        and not local.startswith(".")
        and not local.endswith(".")
        and ".." not in local
        and all(c in _LOCAL_CHARACTERS or (ord(c) > 127 and c.isalnum()) for c in local)
    )


def _is_domain(domain: str) -> bool:
    labels = domain.split(".")
    return len(labels) > 1 and not labels[-1].isdigit() and all(_is_domain_label(x) for x in labels)


def _is_domain_label(label: str) -> bool:
    return (
        0 < len(label) <= _MAX_LABEL
        and not label.startswith("-")
        and not label.endswith("-")
        and all(c.isalnum() or c == "-" for c in label)
    )
