"""The second error rail: expected refusals of a mutation, typed, in its payload."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import strawberry

from db import errors as domain


@strawberry.enum(description="What went wrong, for a client to switch on.")
class UserErrorCode(StrEnum):
    INVALID = "INVALID"
    REQUIRED = "REQUIRED"
    TOO_SHORT = "TOO_SHORT"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    NOT_FOUND = "NOT_FOUND"
    TAKEN = "TAKEN"
    IN_USE = "IN_USE"
    READ_ONLY = "READ_ONLY"
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    PROMO_NOT_ACTIVE = "PROMO_NOT_ACTIVE"
    INELIGIBLE = "INELIGIBLE"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    LIMIT_PER_USER = "LIMIT_PER_USER"
    HOLD_EXPIRED = "HOLD_EXPIRED"
    HOLD_CLOSED = "HOLD_CLOSED"
    INVALID_SCHEDULE = "INVALID_SCHEDULE"
    ADMISSION_DENIED = "ADMISSION_DENIED"
    ADMISSION_WAITLISTED = "ADMISSION_WAITLISTED"
    INSUFFICIENT_CREDITS = "INSUFFICIENT_CREDITS"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    IDEMPOTENCY_IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"
    UNKNOWN_FEATURE = "UNKNOWN_FEATURE"
    MISSING_FEATURE = "MISSING_FEATURE"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    NOT_CANCELLABLE = "NOT_CANCELLABLE"
    NOT_ENOUGH_DATA = "NOT_ENOUGH_DATA"
    TRAINING_IN_PROGRESS = "TRAINING_IN_PROGRESS"


@strawberry.interface(
    description="Every failure has these three; the implementations add what a client needs "
    "to recover."
)
class UserError:
    code: UserErrorCode = strawberry.field(
        description="What went wrong, for a client to switch on."
    )
    message: str = strawberry.field(description="The same for a person to read.")
    field: list[str] | None = strawberry.field(
        description="Path of the argument to mend, such as ['input', 'email']; null if none is."
    )


@strawberry.type(description="Something in the input is wrong or not possible.")
class InputError(UserError):
    pass


@strawberry.interface(description="What every mutation returns beside its object.")
class MutationPayload:
    user_errors: list[UserError] = strawberry.field(
        default_factory=list,
        description="Why nothing was done; empty when the mutation did its work.",
    )


def _input_error(error: domain.DomainError) -> list[UserError]:
    path = list(error.field) if error.field else None
    return [InputError(code=UserErrorCode(error.code), message=error.message, field=path)]


def _input_errors(error: domain.InputRejected) -> list[UserError]:
    return [
        InputError(code=UserErrorCode(p.code), message=p.message, field=list(p.field))
        for p in error.problems
    ]


TRANSLATIONS: dict[type[domain.DomainError], Callable[[Any], Sequence[UserError]]] = {
    domain.InputRejected: _input_errors,
    domain.BadCredentials: _input_error,
    domain.TrainingInProgress: _input_error,
    domain.VersionUnservable: _input_error,
    domain.PromoNotActive: _input_error,
    domain.ScoreMissing: _input_error,
    domain.LimitPerUser: _input_error,
}
"""One entry a domain error; a test walks the subclasses and finds none missing. Those with more to
tell than a message are entered by the subject whose types they need."""


def user_errors_of(error: domain.DomainError) -> list[UserError]:
    return list(TRANSLATIONS[type(error)](error))
