"""The Node interface: what has a global id and can be fetched by it."""

from collections.abc import Awaitable, Callable

import strawberry

from schema.edge.context import Context


@strawberry.interface(description="An object with a global id.")
class Node:
    id: strawberry.ID = strawberry.field(
        description="Opaque global id; arguments accept it or the raw key."
    )


Fetch = Callable[[Context, str], Awaitable[Node | None]]

FETCHERS: dict[str, Fetch] = {}


def fetched_by(type_name: str) -> Callable[[Fetch], Fetch]:
    """Registers how `node(id)` gets this type: by raw key, with the viewer's rights."""

    def register(fetch: Fetch) -> Fetch:
        FETCHERS[type_name] = fetch
        return fetch

    return register
