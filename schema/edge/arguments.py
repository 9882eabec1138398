"""Arguments that many fields share, described once."""

from typing import Annotated

import strawberry

from schema.edge.faults import BadUserInput

First = Annotated[int, strawberry.argument(description="Rows of a page, 1 to 100.")]
After = Annotated[
    str | None,
    strawberry.argument(description="A cursor: the page starts behind its row."),
]
Limit = Annotated[int, strawberry.argument(description="Most rows to return, newest first.")]
Days = Annotated[int, strawberry.argument(description="Days to look back, 1 to 365.")]
Id = Annotated[
    strawberry.ID, strawberry.argument(description="A global id, or the raw primary key.")
]
OptionalId = Annotated[
    strawberry.ID | None, strawberry.argument(description="A global id, or the raw primary key.")
]


def described(text: str) -> object:
    """For an argument that only one field has: `Annotated[str, described("…")]`."""
    return strawberry.argument(description=text)


def require_between(name: str, value: int, most: int) -> None:
    """Raises BadUserInput naming the argument and its limit."""
    if not 1 <= value <= most:
        raise BadUserInput(f"{name} must be between 1 and {most}, got {value}", [name])
