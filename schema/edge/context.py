"""What a resolver finds at hand: the process's services, and who is asking."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from starlette.requests import HTTPConnection
from strawberry.types.info import Info as StrawberryInfo

from auth.errors import Unauthenticated
from auth.limits import Allowance
from auth.networks import address_block
from db.session import Database
from schema.edge.services import Policy, Services
from schema.edge.viewers import Viewer, ViewerSource


@dataclass
class Context:
    """One a request, or one a socket: then `connection_params` holds the init payload."""

    services: Services
    connection: HTTPConnection
    connection_params: dict[str, Any] | None = None
    request_id: str = field(default_factory=lambda: uuid4().hex)
    loaders: dict[Any, Any] = field(default_factory=dict)
    spent: int = 0
    _viewer: "asyncio.Task[Viewer | None] | None" = None

    def for_operation(self) -> "Context":
        """The same person on the same socket, with nothing remembered of other operations."""
        return replace(self, loaders={}, spent=0, _viewer=None)

    @property
    def now(self) -> datetime:
        return self.services.clock()

    @property
    def database(self) -> Database:
        return self.services.database

    @property
    def policy(self) -> Policy:
        return self.services.policy

    @property
    def address(self) -> str:
        client = self.connection.client
        return client.host if client else "unknown"

    @property
    def authorization(self) -> str | None:
        """The Authorization header, or its counterpart in a socket's connection_init payload."""
        for name, value in (self.connection_params or {}).items():
            if name.lower() == "authorization":
                return value if isinstance(value, str) else ""
        return self.connection.headers.get("authorization")

    async def viewer(self) -> Viewer | None:
        """Who is asking; None without credentials. Looked up once, however many fields ask.

        Raises Unauthenticated if there are credentials and they are wrong.
        """
        if self.authorization is None:
            return None
        if self._viewer is None:
            self._viewer = asyncio.ensure_future(
                ViewerSource(self.services).of(self.authorization, self.address, self.now)
            )
        # A field that is cancelled must not cancel the look-up that its siblings wait for.
        return await asyncio.shield(self._viewer)

    async def required_viewer(self) -> Viewer:
        viewer = await self.viewer()
        if viewer is None:
            raise Unauthenticated("This needs an Authorization header: 'Bearer <token>'.")
        if viewer.expires_at is not None and viewer.expires_at <= self.now:
            raise Unauthenticated("The token has expired.")
        return viewer

    async def known_viewer(self) -> Viewer | None:
        """The same for what is open to all: wrong credentials count as none."""
        try:
            return await self.viewer()
        except Unauthenticated:
            return None

    @property
    def address_caller(self) -> str:
        """For limits that a new account must not lift: the address, or its block (IPv6)."""
        return f"address:{address_block(self.address)}"

    async def caller(self) -> str:
        """Whom rate limits are counted against: the user if known, else the address."""
        viewer = await self.known_viewer()
        return f"user:{viewer.id}" if viewer else self.address_caller

    async def spend(self, cost: int) -> Allowance:
        """Charges the caller's budget of cost points. Raises RateLimited when it is used up."""
        self.spent += cost
        return await self.services.limiter.hit(
            "budget", await self.caller(), self.policy.budget_per_minute, 60, cost=cost
        )


Info = StrawberryInfo[Context, None]
