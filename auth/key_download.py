"""One download of a provider's keys. Blocking: runs in a thread."""

import http.client
import json
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from jwt import PyJWK, PyJWTError

from auth.providers import Provider, is_http

LARGEST_ANSWER = 262_144
"""Bytes. A set of ten RSA keys has 5,000."""
MOST_KEYS = 100


class DownloadError(Exception):
    """The message is for the log."""


def download_keys(provider: Provider, timeout_seconds: float) -> tuple[PyJWK, ...]:
    """At least one key, of whatever kind. Raises DownloadError."""
    deadline = time.monotonic() + timeout_seconds
    address = provider.jwks_url or _discover(provider.issuer, deadline)
    entries = _object(address, deadline).get("keys")
    if not isinstance(entries, list):
        raise DownloadError("the answer is not a key set")
    keys = tuple(key for entry in entries[:MOST_KEYS] if (key := _parse(entry)))
    if not keys:
        raise DownloadError("the key set has no usable key")
    return keys


def _discover(issuer: str, deadline: float) -> str:
    document = _object(issuer.rstrip("/") + "/.well-known/openid-configuration", deadline)
    if document.get("issuer") != issuer:
        raise DownloadError("the discovery document speaks for another issuer")
    address = document.get("jwks_uri")
    # Keys on http for a provider on https: anybody on the way could exchange them.
    plain = not is_http(issuer, plain=False)
    if not isinstance(address, str) or not is_http(address, plain=plain):
        raise DownloadError("the discovery document has no usable jwks_uri")
    return address


def _object(address: str, deadline: float) -> dict[str, Any]:
    try:
        body = _get(address, deadline)
    except HTTPError as error:
        with error:
            raise DownloadError(f"HTTP status {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"{type(error).__name__}: {error}") from error
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DownloadError("the answer is not JSON") from error
    if not isinstance(answer, dict):
        raise DownloadError("the answer is not a JSON object")
    return answer


def _get(address: str, deadline: float) -> bytes:
    # Some gateways turn away urllib's own name.
    headers = {"Accept": "application/json", "User-Agent": "auspex"}
    request = Request(address, headers=headers)  # noqa: S310 - the opener knows http only
    body = b""
    with _opener().open(request, timeout=_left(deadline)) as response:
        # The socket's time-out starts anew with every byte; a trickle could go on for ever.
        while chunk := response.read1(65_536):
            body += chunk
            if len(body) > LARGEST_ANSWER:
                raise DownloadError("the answer is too large")
            _left(deadline)
    return body


def _opener() -> OpenerDirector:
    """Without urllib's usual handlers of `file:` and of redirects: from the provider those could
    lead anywhere, our own network included.
    """
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise DownloadError("the answer took too long")
    return left


def _parse(entry: object) -> PyJWK | None:
    """None for what we cannot use: providers publish keys of kinds that we do not know."""
    if not isinstance(entry, dict):
        return None
    try:
        return PyJWK(entry)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
