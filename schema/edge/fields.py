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
from sqlalchemy.exc import DBAPIError
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location
from strawberry.types.field import StrawberryField
from strawberry.types.info import Info as AnyInfo

from auth.errors import Forbidden, Unauthenticated
from auth.permissions import allows
from db.errors import DomainError
from db.models.accounts import Role
from schema.edge.context import Context
from schema.edge.faults import BadUserInput, NotFound
from schema.edge.user_errors import user_errors_of

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

    async def admit(self, info: AnyInfo[Context, Any]) -> None:
        context = info.context
        if isinstance(self.access, Role):
            viewer = await context.required_viewer()
            if not allows(viewer.role, self.access):
                raise Forbidden
        if self.rate is not None:
            caller = context.address_caller if self.rate.by_address else await context.caller()
            await context.services.limiter.hit(
                info.field_name, caller, self.rate.limit, self.rate.window_seconds
            )

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Any, **kwargs: Any
    ) -> Any:
        await self.admit(info)
        return await next_(source, info, **kwargs)


class StreamGuard(Guard):
    """The same for a subscription, which also ends when the token does."""

    async def resolve_async(
        self, next_: Callable[..., Any], source: Any, info: Any, **kwargs: Any
    ) -> Any:
        await self.admit(info)
        viewer = await info.context.viewer() if isinstance(self.access, Role) else None
        events = next_(source, info, **kwargs)
        if viewer is None or viewer.expires_at is None:
            return events
        left = (viewer.expires_at - info.context.now).total_seconds()
        return until(events, asyncio.get_running_loop().time() + left)


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
        raise Unauthenticated("The token has expired.") from None
    finally:
        await events.aclose()  # type: ignore[attr-defined]


class Outcome(FieldExtension):
    """Turns a domain error of a mutation into its payload's userErrors: the one place that does.

    Also runs the mutation again when PostgreSQL gave up on it to break a deadlock: the transaction
    was rolled back, so nothing was done.
    """

    RETRIES = 3
    RETRYABLE = frozenset({"40001", "40P01"})

    def __init__(self) -> None:
        self.payload: Any = None

    def apply(self, field: StrawberryField) -> None:
        self.payload = field.type

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Any, **kwargs: Any
    ) -> Any:
        for retries_left in reversed(range(self.RETRIES + 1)):
            try:
                return await next_(source, info, **kwargs)
            except DomainError as error:
                return refusal(self.payload, error)
            except DBAPIError as error:
                if not retries_left or getattr(error.orig, "sqlstate", "") not in self.RETRYABLE:
                    raise
        raise AssertionError("unreachable")


def refusal(payload: Any, error: DomainError) -> Any:
    """The payload with its errors, and null for the object that was not made."""
    fields = {
        field.python_name: None
        for field in payload.__strawberry_definition__.fields
        if field.python_name != "user_errors"
    }
    return payload(**fields, user_errors=user_errors_of(error))


class Question(FieldExtension):
    """A domain error in a query has no payload to go to: it becomes a top-level error."""

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Any, **kwargs: Any
    ) -> Any:
        try:
            return await next_(source, info, **kwargs)
        except DomainError as error:
            first = user_errors_of(error)[0]
            if first.code == "NOT_FOUND":
                raise NotFound(first.message) from None
            path = first.field or []
            raise BadUserInput(
                f"{'.'.join(path)}: {error.message}" if path else error.message,
                path,
                reason=first.code.value,
            ) from None


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


def query(
    *, access: Access, description: str, rate: Rate | None = None, cost: int | None = None
) -> Declared:
    """A field with a resolver: of Query, or of a type where access or cost must be declared."""
    made: Declared = strawberry.field(
        description=description,
        directives=_directives(access, rate, cost),
        extensions=[Guard(access, rate), Question()],
        metadata={"access": access},
    )
    return made


def mutation(
    *, access: Access, description: str, rate: Rate | None = None, cost: int | None = None
) -> Declared:
    made: Declared = strawberry.mutation(
        description=description,
        directives=_directives(access, rate, cost),
        extensions=[Guard(access, rate), Outcome()],
        metadata={"access": access},
    )
    return made


def subscription(
    *, access: Access, description: str, rate: Rate | None = None, cost: int | None = None
) -> Declared:
    made: Declared = strawberry.subscription(
        description=description,
        directives=_directives(access, rate, cost),
        extensions=[StreamGuard(access, rate)],
        metadata={"access": access},
    )
    return made


def link(*, description: str, name: str | None = None) -> Declared:
    """A field of a type that must be computed or fetched, open to whoever sees its object."""
    made: Declared = strawberry.field(description=description, name=name)
    return made
