"""What can go wrong in a business operation: typed, with the data a client needs to recover.

Each class becomes one `UserError` type of the schema (a test checks that none is missing).
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
