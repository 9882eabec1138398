"""Objects by global id."""

from typing import Annotated

import strawberry

from schema.edge.arguments import described
from schema.edge.context import Context, Info
from schema.edge.faults import BadUserInput
from schema.edge.fields import PUBLIC, query
from schema.edge.ids import split_global_id
from schema.edge.nodes import FETCHERS, Node

MOST_IDS = 100


async def fetch_node(context: Context, global_id: str) -> Node | None:
    """None for what is not there, and for what the caller may not see."""
    split = split_global_id(global_id)
    if split is None or split[0] not in FETCHERS:
        raise BadUserInput("id is not a global id of this server", ["id"])
    type_name, key = split
    return await FETCHERS[type_name](context, key)


@strawberry.type
class NodeQuery:
    @query(access=PUBLIC, description="The object with this global id; null if there is none.")
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, described("A global id.")]
    ) -> Node | None:
        return await fetch_node(info.context, id)

    @query(access=PUBLIC, description="Up to 100 objects by global id, in the order asked for.")
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], described("Global ids, 100 at most.")]
    ) -> list[Node | None]:
        if len(ids) > MOST_IDS:
            raise BadUserInput(f"ids may have {MOST_IDS} entries at most, got {len(ids)}", ["ids"])
        return [await fetch_node(info.context, id) for id in ids]
