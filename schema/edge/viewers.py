"""From an Authorization header to a person of ours."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from auth.authorization import Basic, parse_authorization
from auth.errors import Unauthenticated
from auth.networks import address_block
from auth.verifier import Claims
from db.models.accounts import LOCAL_ISSUER, Role
from db.queries import accounts as queries
from db.transactions import accounts as transactions
from schema.edge.services import Services

BASIC_PER_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Viewer:
    """The row of the person who asks. The role comes from our table, never from a token."""

    id: UUID
    role: Role
    email: str | None
    username: str | None
    created_at: datetime
    expires_at: datetime | None = None


def _viewer(row: queries.UserRow, expires_at: datetime | None = None) -> Viewer:
    return Viewer(row.id, Role(row.role), row.email, row.username, row.created_at, expires_at)


class ViewerSource:
    def __init__(self, services: Services) -> None:
        self.services = services

    async def of(self, authorization: str, address: str, now: datetime) -> Viewer | None:
        credentials = parse_authorization(authorization)
        if credentials is None:
            return None
        if isinstance(credentials, Basic):
            return await self._by_password(credentials, address)
        claims = await self.services.verifier.verify(credentials.token, now)
        return await self._by_claims(claims, now)

    async def _by_claims(self, claims: Claims, now: datetime) -> Viewer:
        local = claims.issuer == self.services.tokens.issuer
        issuer = LOCAL_ISSUER if local else claims.issuer
        async with self.services.database.read() as reader:
            row = await queries.user_by_id(reader, claims.subject)
        if not local and (row is None or (claims.email and row.email != claims.email)):
            async with self.services.database.transaction() as session:
                row = await transactions.meet_outside_user(
                    session,
                    user_id=claims.subject,
                    issuer=issuer,
                    email=claims.email,
                    time_zone=self.services.policy.time_zone,
                    now=now,
                )
        # The same id vouched for by somebody else is somebody else.
        if row is None or row.issuer != issuer:
            raise Unauthenticated("The token does not belong to an account here.")
        return _viewer(row, claims.expires_at)

    async def _by_password(self, basic: Basic, address: str) -> Viewer:
        if not self.services.policy.allow_basic_auth:
            raise Unauthenticated("Basic authentication is off (ALLOW_BASIC_AUTH).")
        await self.services.limiter.hit(
            "basic", f"address:{address_block(address)}", BASIC_PER_MINUTE, 60
        )
        async with self.services.database.read() as reader:
            row = await queries.local_user_by_login(reader, basic.username)
        right = await self.services.passwords.verify(
            row.password_hash if row else None, basic.password
        )
        if row is None or not right:
            raise Unauthenticated("The user name or the password is wrong.")
        return _viewer(row)
