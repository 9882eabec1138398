"""Faults of a request, as against outcomes of a business operation (`db/errors.py`).

They leave GraphQL as top-level errors: `code`, `status` and `data` become its `extensions`.
"""

from typing import ClassVar


class RequestFault(Exception):
    code: ClassVar[str]
    status: ClassVar[int]

    @property
    def message(self) -> str:
        """Goes to the client as it is."""
        return str(self)

    @property
    def data(self) -> dict[str, object]:
        """What a client needs to recover, under the names it reads."""
        return {}


class Unauthenticated(RequestFault):
    code = "UNAUTHENTICATED"
    status = 401

    def __init__(self, message: str = "Authentication is required.") -> None:
        super().__init__(message)


class ProviderUnavailable(Unauthenticated):
    """The token may be good; the keys to tell are out of reach."""

    def __init__(self) -> None:
        super().__init__("The identity provider can't be reached. Try again in a moment.")


class Forbidden(RequestFault):
    code = "FORBIDDEN"
    status = 403

    def __init__(
        self, message: str = "No tiene permisos suficientes para realizar esta acción"
    ) -> None:
        super().__init__(message)


class FeatureDisabled(RequestFault):
    code = "FEATURE_DISABLED"
    status = 403

    def __init__(self, message: str = "This feature is switched off.") -> None:
        super().__init__(message)


class RateLimited(RequestFault):
    """`retry_after` is in whole seconds, at least 1."""

    code = "RATE_LIMITED"
    status = 429

    def __init__(self, retry_after: int, message: str | None = None) -> None:
        super().__init__(message or f"Too many requests. Try again in {retry_after} s.")
        self.retry_after = retry_after

    @property
    def data(self) -> dict[str, object]:
        return {"retryAfter": self.retry_after}
