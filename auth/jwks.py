"""A provider's signing keys, fetched without blocking the loop and no oftener than needed."""

import asyncio
import time
from collections.abc import Callable

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK

from auth.errors import ProviderUnavailable, Unauthenticated
from auth.key_download import DownloadError, download_keys
from auth.providers import Provider

PublicKey = RSAPublicKey | EllipticCurvePublicKey

LIFESPAN_SECONDS = 300.0
"""Older keys are refreshed in the background while they still serve."""
STALE_SECONDS = 86_400.0
"""Keys that could not be refreshed for that long serve no more: they may have been revoked."""
COOLDOWN_SECONDS = 30.0
"""An unknown key id makes us ask again at most this often, so forged ids cannot flood anybody."""
FIRST_RETRY_SECONDS = 5.0
"""The same while we have no keys at all: nobody of this provider can come in until we do."""
LEAST_RSA_BITS = 2_048

log = structlog.get_logger()


class Jwks:
    def __init__(
        self,
        provider: Provider,
        *,
        timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.provider = provider
        self.timeout_seconds = timeout_seconds
        self._clock = clock
        self._keys: tuple[PyJWK, ...] = ()
        self._fetched_at = 0.0
        self._next_attempt: float | None = None
        self._flight: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: str) -> PublicKey:
        """The key with this id that fits the algorithm; without an id, the only one that fits.

        Raises Unauthenticated when the provider has none, ProviderUnavailable when we cannot tell.
        """
        age = self._clock() - self._fetched_at
        if self._keys and age > STALE_SECONDS:
            self._keys = ()
        elif self._keys and age > LIFESPAN_SECONDS:
            self._start()
        found = self._pick(kid, algorithm)
        if found is None and (flight := self._start()):
            # One caller that hangs up must not take the keys away from all who wait for them.
            await asyncio.shield(flight)
            found = self._pick(kid, algorithm)
        if found is not None:
            return found
        if not self._keys:
            raise ProviderUnavailable
        raise Unauthenticated("The access token is signed with an unknown key.")

    async def close(self) -> None:
        if self._flight:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    def _start(self) -> asyncio.Task[None] | None:
        """The fetch under way, a new one, or None while it is too early for another."""
        if self._flight is None or self._flight.done():
            now = self._clock()
            if self._next_attempt is not None and now < self._next_attempt:
                return None
            self._flight = asyncio.create_task(self._fetch())
        return self._flight

    async def _fetch(self) -> None:
        """Never raises: what it cannot refresh stays as it was."""
        try:
            keys = await asyncio.to_thread(download_keys, self.provider, self.timeout_seconds)
        except DownloadError as error:
            log.warning("jwks_fetch_failed", issuer=self.provider.issuer, reason=str(error))
        else:
            self._keys = keys
            self._fetched_at = self._clock()
        pause = COOLDOWN_SECONDS if self._keys else FIRST_RETRY_SECONDS
        self._next_attempt = self._clock() + pause

    def _pick(self, kid: str | None, algorithm: str) -> PublicKey | None:
        fitting = [key for key in self._keys if fits(key, algorithm)]
        if kid is None:
            return fitting[0].key if len(fitting) == 1 else None
        return next((key.key for key in fitting if key.key_id == kid), None)


def fits(key: PyJWK, algorithm: str) -> bool:
    """Whether the provider offers this key for such signatures."""
    if key.public_key_use not in (None, "sig") or key.algorithm_name != algorithm:
        return False
    if algorithm == "RS256":
        return isinstance(key.key, RSAPublicKey) and key.key.key_size >= LEAST_RSA_BITS
    return isinstance(key.key, EllipticCurvePublicKey) and isinstance(key.key.curve, SECP256R1)
