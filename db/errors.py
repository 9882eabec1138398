"""What can go wrong in a business operation: typed, with the data a client needs to recover.

Each class becomes one `UserError` type of the schema (a test checks that none is missing).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

Path = tuple[str, ...]


class DomainError(Exception):
    """An expected refusal. Raised inside the transaction, which then rolls back."""

    code: str = "INVALID"
    field: Path | None = None

    @property
    def message(self) -> str:
        return str(self)


@dataclass(frozen=True)
class InputProblem:
    """One thing wrong with the input: `field` is the path from the mutation's arguments."""

    code: str
    field: Path
    message: str


class InputRejected(DomainError):
    """Everything that is wrong with the input at once, so that a form can show it in one go."""

    def __init__(self, problems: Sequence[InputProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in problems))

    @classmethod
    def one(cls, code: str, field: Path, message: str) -> "InputRejected":
        return cls([InputProblem(code, field, message)])


class BadCredentials(DomainError):
    """One text for an unknown user and a wrong password: neither reveals who has an account."""

    code = "BAD_CREDENTIALS"

    def __init__(self) -> None:
        super().__init__("The user name or the password is wrong.")


class TrainingInProgress(DomainError):
    code = "TRAINING_IN_PROGRESS"
    field = ("input", "modelKey")

    def __init__(self, model_key: str) -> None:
        self.model_key = model_key
        super().__init__(f"A training run of '{model_key}' is queued or running already.")


class VersionUnservable(DomainError):
    """Kept apart from input errors: the version exists, it just may not serve."""

    code = "MODEL_UNAVAILABLE"
    field = ("versionId",)

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(f"Version {version} can't be served: {reason}")


class NotOwner(Exception):
    """The thing is somebody else's: a fault of the request, not an outcome to branch on."""


class PromoNotActive(DomainError):
    code = "PROMO_NOT_ACTIVE"

    def __init__(self, status: str, field: Path = ("input", "promoId")) -> None:
        self.status = status
        self.field = field
        super().__init__(
            "The promo is outside its schedule."
            if status == "ACTIVE"
            else f"The promo is {status.lower()}, not active."
        )


class Ineligible(DomainError):
    """`reasons` are the names of the schema's IneligibleReason."""

    code = "INELIGIBLE"

    def __init__(
        self,
        reasons: Sequence[str],
        distance_meters: float | None,
        field: Path = ("input", "promoId"),
    ) -> None:
        self.field = field
        self.reasons = tuple(reasons)
        self.distance_meters = distance_meters
        super().__init__(f"The promo is not open to you: {', '.join(reasons)}.")


class OutOfStock(DomainError):
    """`units_left` can be reserved now; fewer than were asked for."""

    code = "OUT_OF_STOCK"
    field = ("input", "quantity")

    def __init__(self, units_left: int, *, waitlist_open: bool) -> None:
        self.units_left = units_left
        self.waitlist_open = waitlist_open
        super().__init__(
            "Nothing is left." if not units_left else f"Only {units_left} units are left."
        )


class LimitPerUser(DomainError):
    code = "LIMIT_PER_USER"

    def __init__(self, limit: int, taken: int, field: Path = ("input", "quantity")) -> None:
        self.field = field
        self.limit = limit
        self.taken = taken
        super().__init__(
            f"A person may take {limit} units of this promo; you hold or bought {taken}."
        )


class ScoreMissing(DomainError):
    """The promo scores who asks, and this request came without a score: it has just gone live, or
    its terms have changed. Score and ask again."""

    code = "PROMO_NOT_ACTIVE"
    field = ("input", "promoId")

    def __init__(self) -> None:
        super().__init__("The promo has just changed. Ask again.")


class HoldExpired(DomainError):
    code = "HOLD_EXPIRED"
    field = ("input", "token")

    def __init__(self, expired_at: datetime) -> None:
        self.status = "EXPIRED"
        self.expired_at = expired_at
        super().__init__(f"The hold expired at {expired_at:%Y-%m-%d %H:%M:%S} UTC.")


class HoldClosed(DomainError):
    """The hold ended otherwise; `status` says how."""

    code = "HOLD_CLOSED"

    def __init__(self, status: str, field: Path) -> None:
        self.status = status
        self.field = field
        self.expired_at = None
        super().__init__(f"The hold is closed: it was {status.lower()}.")


class AdmissionRefused(DomainError):
    """`decision` is WAITLIST or DENY; `entry_id` is the place on the waitlist, if one was given.

    Nothing is rolled back for it: raise it after the transaction that keeps the decision.
    """

    def __init__(
        self, decision: str, entry_id: int | None, field: Path = ("input", "promoId")
    ) -> None:
        self.field = field
        self.code = "ADMISSION_DENIED" if decision == "DENY" else "ADMISSION_WAITLISTED"
        self.decision = decision
        self.entry_id = entry_id
        super().__init__(
            "This promo did not admit you."
            if decision == "DENY"
            else "You are on the waitlist of this promo and will be told when a unit is yours."
        )
