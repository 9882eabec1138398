"""The first error rail: faults of the request or the server, as top-level errors with a code.

The second rail, outcomes that a client branches on, is `userErrors` (schema/edge/user_errors.py).
"""

from collections.abc import Sequence

from auth.errors import RequestFault


class BadUserInput(RequestFault):
    """An argument of a query is wrong; `field` is its path."""

    code = "BAD_USER_INPUT"
    status = 400

    def __init__(self, message: str, field: Sequence[str] = (), reason: str | None = None) -> None:
        super().__init__(message)
        self.field = list(field)
        self.reason = reason

    @property
    def data(self) -> dict[str, object]:
        field: dict[str, object] = {"field": self.field} if self.field else {}
        return field | ({"reason": self.reason} if self.reason else {})


class NotFound(RequestFault):
    code = "NOT_FOUND"
    status = 404


class ServiceUnavailable(RequestFault):
    """PostgreSQL is away: nothing was done, and the same request will succeed later."""

    code = "SERVICE_UNAVAILABLE"
    status = 503

    @property
    def data(self) -> dict[str, object]:
        return {"retryAfter": 5}


class QueryTooComplex(RequestFault):
    code = "QUERY_TOO_COMPLEX"
    status = 400
