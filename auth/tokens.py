"""The tokens that we issue ourselves."""

from datetime import datetime, timedelta
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ALGORITHM = "HS256"


class LocalTokens:
    """`secret` may have any length; it also may serve other purposes, the key is derived."""

    def __init__(
        self, secret: str, lifetime: timedelta, issuer: str = "auspex", audience: str = "auspex"
    ) -> None:
        if not secret:
            raise ValueError("the secret is empty")
        self.key = HKDF(SHA256(), length=32, salt=None, info=b"auspex access token HS256").derive(
            secret.encode()
        )
        self.lifetime = lifetime
        self.issuer = issuer
        self.audience = audience

    def issue(self, user_id: UUID, now: datetime) -> tuple[str, int]:
        """The token, and the seconds until it expires."""
        seconds = int(self.lifetime.total_seconds())
        issued = int(now.timestamp())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(user_id),
            "iat": issued,
            "exp": issued + seconds,
        }
        return jwt.encode(claims, self.key, ALGORITHM), seconds
