"""One place where an access token is believed, whoever issued it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jwt import PyJWTError
from jwt.api_jws import PyJWS

from auth.authorization import LONGEST_TOKEN
from auth.claims import Claims, read_claims
from auth.errors import Unauthenticated
from auth.jwks import Jwks, PublicKey
from auth.providers import Provider
from auth.tokens import ALGORITHM, LocalTokens

__all__ = ["Claims", "TokenVerifier"]

LONGEST_KID = 256

MALFORMED = "The access token is malformed."
WRONG_SIGNATURE = "The access token's signature is not valid."

_JWS = PyJWS()


class TokenVerifier:
    """`local` None: our own tokens are refused. Raises ValueError if two issuers are the same."""

    def __init__(self, local: LocalTokens | None, providers: Sequence[Provider] = ()) -> None:
        self._local = local
        self._key_sets = {provider.issuer: Jwks(provider) for provider in providers}
        issuers = [provider.issuer for provider in providers] + ([local.issuer] if local else [])
        if len(set(issuers)) < len(issuers):
            raise ValueError("two issuers of tokens have the same name")

    async def verify(self, token: str, now: datetime | None = None) -> Claims:
        """Raises Unauthenticated, or its kind ProviderUnavailable."""
        now = now or datetime.now(UTC)
        header, payload = _unverified(token)
        issuer = payload.get("iss")
        # The issuer decides which algorithms can be meant before any key is looked for, so that
        # no token can choose how its own signature is checked.
        if self._local and issuer == self._local.issuer:
            _require_algorithm(header, (ALGORITHM,))
            _check_signature(token, self._local.key, ALGORITHM)
            return read_claims(payload, self._local.issuer, self._local.audience, now)
        key_set = self._key_sets.get(issuer) if isinstance(issuer, str) else None
        if key_set is None:
            raise Unauthenticated("The access token's issuer is unknown.")
        provider = key_set.provider
        algorithm = _require_algorithm(header, provider.algorithms)
        _check_signature(token, await key_set.key(_kid(header), algorithm), algorithm)
        return read_claims(payload, provider.issuer, provider.audience, now)

    async def close(self) -> None:
        for key_set in self._key_sets.values():
            await key_set.close()


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload as the token has them. Whoever holds no key can write anything here."""
    if len(token) > LONGEST_TOKEN:
        raise Unauthenticated(MALFORMED)
    try:
        parts = _JWS.decode_complete(token, options={"verify_signature": False})
        payload = json.loads(parts["payload"])
    except (PyJWTError, ValueError, RecursionError):
        raise Unauthenticated(MALFORMED) from None
    if not isinstance(payload, dict):
        raise Unauthenticated(MALFORMED)
    return parts["header"], payload


def _require_algorithm(header: dict[str, Any], allowed: Sequence[str]) -> str:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in allowed:
        raise Unauthenticated("The access token's algorithm is not allowed for its issuer.")
    return algorithm


def _kid(header: dict[str, Any]) -> str | None:
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > LONGEST_KID):
        raise Unauthenticated(MALFORMED)
    return kid


def _check_signature(token: str, key: PublicKey | bytes, algorithm: str) -> None:
    try:
        _JWS.decode_complete(token, key, [algorithm])
    except PyJWTError:
        raise Unauthenticated(WRONG_SIGNATURE) from None
