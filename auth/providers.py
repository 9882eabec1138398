"""Whom else we believe: outside identity providers."""

import re
from dataclasses import dataclass
from typing import Self

from db.models.accounts import LOCAL_ISSUER

ASYMMETRIC = ("RS256", "ES256")
PROJECT_REF = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)


@dataclass(frozen=True)
class Provider:
    """`jwks_url` None: read it from the issuer's `/.well-known/openid-configuration`.

    Raises ValueError, with a message for the operator, when something cannot be right.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ASYMMETRIC
    jwks_url: str | None = None

    def __post_init__(self) -> None:
        # With HS256 the public key, which everybody can read, would be the secret.
        if not self.algorithms or set(self.algorithms) - set(ASYMMETRIC):
            raise ValueError("a provider's algorithms can be RS256 and ES256 only")
        if not (self.issuer and self.audience):
            raise ValueError("a provider needs an issuer and an audience")
        if self.issuer == LOCAL_ISSUER:
            raise ValueError("a provider can't speak for the accounts kept here")
        address = self.jwks_url or self.issuer
        if not is_http(address):
            raise ValueError(f"{address!r} is not an http address")

    @classmethod
    def supabase(
        cls,
        project_ref: str,
        audience: str = "authenticated",
        algorithms: tuple[str, ...] = ASYMMETRIC,
        jwks_url: str | None = None,
        issuer: str | None = None,
    ) -> Self:
        """The usual addresses of a Supabase project; those given win.

        `project_ref` may be empty when `jwks_url` is a Supabase address: the issuer is its
        `/auth/v1` part.
        """
        if not issuer:
            issuer = _supabase_issuer(project_ref, jwks_url or "")
        return cls(issuer, audience, algorithms, jwks_url or f"{issuer}/.well-known/jwks.json")


def is_http(address: str, *, plain: bool = True) -> bool:
    """`plain` False: https only."""
    return address.lower().startswith(("https://", "http://") if plain else "https://")


def _supabase_issuer(project_ref: str, jwks_url: str) -> str:
    if PROJECT_REF.fullmatch(project_ref):
        return f"https://{project_ref}.supabase.co/auth/v1"
    host, marker, _ = jwks_url.partition("/auth/v1")
    if project_ref or not marker:
        raise ValueError("needs a Supabase project reference, such as abcdefghijklmnopqrst")
    return host + marker
