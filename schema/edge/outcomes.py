"""What becomes of a domain error: userErrors of a mutation, or a top-level error of a query."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.exc import DBAPIError
from strawberry.extensions import FieldExtension
from strawberry.types.field import StrawberryField

from db.errors import DomainError
from schema.edge.faults import BadUserInput, NotFound
from schema.edge.user_errors import user_errors_of


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
