"""Relay connections over keyset cursors: exact under inserts, page 1,000 as quick as page 1."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Generic, TypeVar

import orjson
import strawberry

from schema.edge.faults import BadUserInput
from schema.edge.fields import link
from schema.edge.scalars import in_bounds

MOST_ROWS = 100
LONGEST_CURSOR = 500
LARGEST_KEY = 2**63 - 1

R = TypeVar("R")
T = TypeVar("T")
Key = tuple[Any, ...]


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more follow: ask with `after`.")
    has_previous_page: bool = strawberry.field(
        description="Whether this page was asked for with `after`."
    )
    start_cursor: str | None = strawberry.field(description="Cursor of the first row.")
    end_cursor: str | None = strawberry.field(
        description="Cursor of the last row: the next `after`."
    )


@strawberry.type(description="A row and its cursor.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(
        description="Where this row stands: `after` continues behind it."
    )
    node: T = strawberry.field(description="The row.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(description="The rows with their cursors.")
    nodes: list[T] = strawberry.field(description="The rows alone.")
    page_info: PageInfo = strawberry.field(description="Where this page stands in the list.")
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @link(description="Rows in the whole list; counted only when asked for.")
    async def total_count(self) -> int:
        return await self.count()


@dataclass(frozen=True)
class PageRequest:
    """`first` rows after the row with this sort key (None: from the start)."""

    first: int
    after: Key | None

    @property
    def limit(self) -> int:
        """One more than asked for: whether it is there tells if another page follows."""
        return self.first + 1


def page_request(
    first: int, after: str | None, key_types: Sequence[type], most: int = MOST_ROWS
) -> PageRequest:
    """Raises BadUserInput for a page size out of range or a cursor of another list."""
    if not 1 <= first <= most:
        raise BadUserInput(f"first must be between 1 and {most}, got {first}", ["first"])
    return PageRequest(first, None if after is None else read_cursor(after, key_types))


def write_cursor(key: Key) -> str:
    return urlsafe_b64encode(orjson.dumps(key, default=str)).decode().rstrip("=")


def read_cursor(cursor: str, key_types: Sequence[type]) -> Key:
    try:
        return _read_key(cursor, key_types)
    except (ValueError, TypeError, OverflowError):
        raise BadUserInput("after is not a cursor of this list", ["after"]) from None


def _read_key(cursor: str, key_types: Sequence[type]) -> Key:
    if len(cursor) > LONGEST_CURSOR:
        raise ValueError
    key = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    if not isinstance(key, list) or len(key) != len(key_types):
        raise ValueError
    return tuple(_key_part(part, kind) for part, kind in zip(key, key_types, strict=True))


def _key_part(part: Any, kind: type) -> Any:
    if kind in {int, str, float}:
        if type(part) is not kind or (isinstance(part, int) and abs(part) > LARGEST_KEY):
            raise ValueError
        return part
    if not isinstance(part, str):
        raise TypeError
    value = kind.fromisoformat(part) if hasattr(kind, "fromisoformat") else kind(part)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError
        value = value.astimezone(UTC)
    if isinstance(value, date) and not in_bounds(value):
        raise ValueError
    return value


def connection(
    page: PageRequest,
    rows: Sequence[R],
    key: Callable[[R], Key],
    node: Callable[[R], T],
    count: Callable[[], Awaitable[int]],
) -> Connection[T]:
    """The page, from at most `page.limit` rows in the order of their keys."""
    shown = rows[: page.first]
    nodes = [node(row) for row in shown]
    cursors = [write_cursor(key(row)) for row in shown]
    return Connection(
        edges=[Edge(cursor=c, node=n) for c, n in zip(cursors, nodes, strict=True)],
        nodes=nodes,
        page_info=PageInfo(
            has_next_page=len(rows) > page.first,
            has_previous_page=page.after is not None,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        ),
        count=count,
    )
