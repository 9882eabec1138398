"""One query for all of a kind that a request asks for: the links between types go through here."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from strawberry.dataloader import DataLoader

from db.session import Reader
from schema.edge.context import Context

K = TypeVar("K")
V = TypeVar("V")

Query = Callable[..., Awaitable[Mapping[K, V]]]
"""`query(reader, keys, **arguments)`: the values it found, by key."""


async def load(context: Context, query: Query[K, V], key: K, **arguments: Any) -> V | None:
    """The value of `key`, fetched together with whatever else asks this with these arguments."""
    name = (query.__name__, *sorted(arguments.items()))
    if name not in context.loaders:
        context.loaders[name] = DataLoader(load_fn=_batch(context, query, arguments))
    loader: DataLoader[K, V | None] = context.loaders[name]
    return await loader.load(key)


def _batch(
    context: Context, query: Query[K, V], arguments: Mapping[str, Any]
) -> Callable[[list[K]], Awaitable[Sequence[V | None]]]:
    async def fetch(keys: list[K]) -> Sequence[V | None]:
        reader: Reader
        async with context.database.read() as reader:
            found = await query(reader, keys, **arguments)
        return [found.get(key) for key in keys]

    return fetch
