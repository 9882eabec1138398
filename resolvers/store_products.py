"""Stock: which store has how much of which product."""

from typing import Annotated, Any

import strawberry

from db.models.accounts import Role
from db.queries import store_products as queries
from db.transactions import store_products as transactions
from resolvers.catalogue import rights, said
from schema.catalogue import StoreProduct
from schema.catalogue_inputs import DeletePayload, StoreProductInput, StoreProductPayload
from schema.edge.arguments import After, First, Id, OptionalId, described
from schema.edge.connections import Connection, connection, page_request
from schema.edge.context import Context, Info
from schema.edge.fields import mutation, query
from schema.edge.ids import global_id, integer_key
from schema.edge.nodes import fetched_by

IDS = (("store_id", "Store", "storeId"), ("product_id", "Product", "productId"))


def _values(input: StoreProductInput) -> dict[str, Any]:
    """Raises BadUserInput for ids that are none."""
    values = said(
        store_id=input.store_id,
        product_id=input.product_id,
        on_hand=input.stock,
        base_price=input.base_price,
    )
    for key, type_name, argument in IDS:
        if key in values:
            values[key] = _optional(values[key], type_name, argument)
    return values


def _optional(id: str | None, type_name: str, argument: str) -> int | None:
    return None if id is None else integer_key(id, type_name, argument)


async def _told(context: Context, change: transactions.StockChange) -> StoreProductPayload:
    context.services.announcer.announce(change.topics)
    return StoreProductPayload(store_product=StoreProduct.of(change.row))


async def _store_product(context: Context, id: str) -> StoreProduct | None:
    stock_id = integer_key(id, "StoreProduct")
    async with context.database.read() as reader:
        row = (await queries.store_products_by_id(reader, [stock_id])).get(stock_id)
    return StoreProduct.of(row) if row else None


@strawberry.type
class StoreProductQuery:
    @query(access=Role.USER, description="Stock of all stores, of one store, or of one product.")
    async def store_products(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        store_id: OptionalId = None,
        product_id: OptionalId = None,
    ) -> Connection[StoreProduct]:
        page = page_request(first, after, (int,))
        which = (
            _optional(store_id, "Store", "storeId"),
            _optional(product_id, "Product", "productId"),
        )
        after_id = page.after[0] if page.after else 0
        async with info.context.database.read() as reader:
            rows = await queries.store_products_page(reader, page.limit, after_id, *which)

        async def count() -> int:
            async with info.context.database.read() as counter:
                return await queries.count_store_products(counter, *which)

        return connection(page, rows, lambda row: (row.id,), StoreProduct.of, count)

    @query(access=Role.USER, description="One stock row; null if there is none.")
    async def store_product(self, info: Info, id: Id) -> StoreProduct | None:
        return await _store_product(info.context, id)


@strawberry.type
class StoreProductMutation:
    @mutation(
        access=Role.MERCHANT,
        description="Puts a product into a store of the caller's (ADMIN: any). TAKEN if it is "
        "there already.",
    )
    async def create_store_product(
        self, info: Info, input: Annotated[StoreProductInput, described("The stock.")]
    ) -> StoreProductPayload:
        viewer = await info.context.required_viewer()
        async with info.context.database.transaction() as session:
            row = await transactions.create_store_product(
                session, **rights(viewer), values=_values(input), now=info.context.now
            )
        return StoreProductPayload(store_product=StoreProduct.of(row))

    @mutation(
        access=Role.MERCHANT,
        description="Changes stock or price in a store of the caller's (ADMIN: any).",
    )
    async def update_store_product(
        self, info: Info, id: Id, input: Annotated[StoreProductInput, described("What to change.")]
    ) -> StoreProductPayload:
        viewer = await info.context.required_viewer()
        async with info.context.database.transaction() as session:
            change = await transactions.update_store_product(
                session,
                integer_key(id, "StoreProduct"),
                **rights(viewer),
                values=_values(input),
                now=info.context.now,
            )
        return await _told(info.context, change)

    @mutation(
        access=Role.MERCHANT,
        description="Takes a product out of a store of the caller's (ADMIN: any). IN_USE once "
        "promos were made of it.",
    )
    async def delete_store_product(self, info: Info, id: Id) -> DeletePayload:
        viewer = await info.context.required_viewer()
        stock_id = integer_key(id, "StoreProduct")
        async with info.context.database.transaction() as session:
            await transactions.delete_store_product(session, stock_id, **rights(viewer))
        return DeletePayload(deleted_id=strawberry.ID(global_id("StoreProduct", stock_id)))

    @mutation(
        access=Role.MERCHANT,
        description="Relative change, safe under concurrency (an absolute stock write is not).",
    )
    async def adjust_stock(
        self,
        info: Info,
        store_product_id: Id,
        delta: Annotated[int, described("Units to add; negative: to take away.")],
        reason: Annotated[str | None, described("Why, 500 characters at most.")] = None,
        idempotency_key: Annotated[
            str | None, described("A repeat with the same key changes nothing more.")
        ] = None,
    ) -> StoreProductPayload:
        viewer = await info.context.required_viewer()
        async with info.context.database.transaction() as session:
            change = await transactions.adjust_stock(
                session,
                integer_key(store_product_id, "StoreProduct", "storeProductId"),
                **rights(viewer),
                delta=delta,
                reason=reason,
                key=idempotency_key,
                now=info.context.now,
            )
        return await _told(info.context, change)


@fetched_by("StoreProduct")
async def fetch_store_product(context: Context, key: str) -> StoreProduct | None:
    await context.required_viewer()
    return await _store_product(context, key)
