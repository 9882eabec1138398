"""How a field is declared: who may ask, how often, and what it costs.

Every root field is made by `query`, `mutation` or `subscription` below, which demand an `access`;
a test walks the schema for any that was made otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location

from auth.errors import Forbidden, Unauthenticated
from auth.permissions import allows
from db.models.accounts import Role
from schema.edge.context import Context
from schema.edge.nobody import Nobody
from schema.edge.outcomes import Outcome, Question

strawberry.enum(Role, description="What a person may do; each role includes those before it.")


class Public(Enum):
    """Access of a field that needs no account."""

    PUBLIC = "public"


PUBLIC = Public.PUBLIC
Access = Role | Public


@dataclass(frozen=True)
class Rate:
    """At most `limit` calls in `window_seconds`, per caller and field.

    `by_address`: whoever signs in on the way still counts as the same address.
    """

    limit: int
    window_seconds: int
    by_address: bool = False


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="auth",
    description="The field needs a token of a person with at least this role.",
)
class AuthDirective:
    requires: Role = strawberry.directive_field(name="requires", default=Role.USER)


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="rateLimit",
    description="At most `limit` calls of the field in `windowSeconds`, per caller.",
)
class RateLimitDirective:
    limit: int = strawberry.directive_field(name="limit")
    window_seconds: int = strawberry.directive_field(name="windowSeconds")


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="cost",
    description="Points that the field adds to the cost of a request (1 or 0 if not stated).",
)
class CostDirective:
    weight: int = strawberry.directive_field(name="weight")


class Guard(FieldExtension):
    """Asks for the role and the rate before the resolver runs."""

    def __init__(self, access: Access, rate: Rate | None) -> None:
        self.access = access
        self.rate = rate

    async def admit(self, context: Context, field_name: str) -> None:
        if isinstance(self.access, Role):
            viewer = await context.required_viewer()
            if not allows(viewer.role, self.access):
                raise Forbidden
        if self.rate is not None:
            caller = context.address_caller if self.rate.by_address else await context.caller()
            await context.services.limiter.hit(
                field_name, caller, self.rate.limit, self.rate.window_seconds
            )

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Any, **kwargs: Any
    ) -> Any:
        await self.admit(info.context, info.field_name)
        return await next_(source, info, **kwargs)


class StreamGuard(Guard):
    """The same for a subscription, which also ends when the token does."""

    async def admit_until(self, context: Context, field_name: str) -> float | None:
        """When, by the loop's clock, the token of the admitted caller expires; None: never."""
        await self.admit(context, field_name)
        viewer = await context.viewer() if isinstance(self.access, Role) else None
        if viewer is None or viewer.expires_at is None:
            return None
        left = (viewer.expires_at - context.now).total_seconds()
        return asyncio.get_running_loop().time() + left

    async def resolve_async(
        self, next_: Callable[..., Any], source: Any, info: Any, **kwargs: Any
    ) -> Any:
        if isinstance(info.context, Nobody):  # each of its subscribers was admitted by itself
            return next_(source, info, **kwargs)
        deadline = await self.admit_until(info.context, info.field_name)
        events = next_(source, info, **kwargs)
        return events if deadline is None else until(events, deadline)


def token_expired() -> Unauthenticated:
    return Unauthenticated("The token has expired.")


async def until(events: AsyncIterator[Any], deadline: float) -> AsyncIterator[Any]:
    """The events until the loop's clock passes the deadline; then Unauthenticated."""
    try:
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    event = await anext(events)
            except StopAsyncIteration:
                return
            yield event
    except TimeoutError:
        raise token_expired() from None
    finally:
        await events.aclose()  # type: ignore[attr-defined]


Declared = Callable[[Callable[..., Any]], Any]


def _directives(access: Access, rate: Rate | None, cost: int | None) -> list[object]:
    made: list[object] = []
    if isinstance(access, Role):
        made.append(AuthDirective(requires=access))
    if rate is not None:
        made.append(RateLimitDirective(limit=rate.limit, window_seconds=rate.window_seconds))
    if cost is not None:
        made.append(CostDirective(weight=cost))
    return made


def _field(
    make: Callable[..., Any],
    extensions: list[FieldExtension],
    *,
    access: Access,
    description: str,
    rate: Rate | None,
    cost: int | None,
    **marks: bool,
) -> Declared:
    """`marks` stay with the field: what schema/edge/sharing.py asks about it."""
    made: Declared = make(
        description=description,
        directives=_directives(access, rate, cost),
        extensions=extensions,
        metadata={"access": access, **marks},
    )
    return made


def query(
    *,
    access: Access,
    description: str,
    rate: Rate | None = None,
    cost: int | None = None,
    personal: bool = False,
) -> Declared:
    """A field with a resolver: of Query, or of a type where access or cost must be declared.

    `personal`: the answer depends on who asks. With a role or a rate it is anyway.
    """
    return _field(
        strawberry.field,
        [Guard(access, rate), Question()],
        access=access,
        description=description,
        rate=rate,
        cost=cost,
        personal=personal or isinstance(access, Role) or rate is not None,
    )


def mutation(
    *, access: Access, description: str, rate: Rate | None = None, cost: int | None = None
) -> Declared:
    return _field(
        strawberry.mutation,
        [Guard(access, rate), Outcome()],
        access=access,
        description=description,
        rate=rate,
        cost=cost,
    )


def subscription(
    *,
    access: Access,
    description: str,
    rate: Rate | None = None,
    cost: int | None = None,
    shared: bool = False,
) -> Declared:
    """A stream. `shared`: all who watch the same get the same, so it is made once for them.

    The source of a shared stream yields the present state first and whole states after it (whoever
    reads slowly misses some, never the last), and never asks who is asking.
    """
    return _field(
        strawberry.subscription,
        [StreamGuard(access, rate)],
        access=access,
        description=description,
        rate=rate,
        cost=cost,
        shared=shared,
    )


def link(*, description: str, name: str | None = None, personal: bool = False) -> Declared:
    """A field of a type that must be computed or fetched, open to whoever sees its object.

    `personal`: the answer depends on who asks.
    """
    made: Declared = strawberry.field(
        description=description, name=name, metadata={"personal": personal}
    )
    return made
