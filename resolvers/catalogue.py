"""Products and stores: looking at them, and what their owners may do."""

from typing import Annotated, Any

import strawberry

from db.models.accounts import Role
from db.queries import catalogue as queries
from db.transactions import catalogue as transactions
from schema.accounts import GeoPointInput
from schema.catalogue import Product, Store, place_in
from schema.catalogue_inputs import (
    DeletePayload,
    ProductInput,
    ProductPayload,
    StoreInput,
    StorePayload,
)
from schema.edge.arguments import After, First, Id, described
from schema.edge.connections import Connection, connection, page_request
from schema.edge.context import Context, Info
from schema.edge.faults import BadUserInput
from schema.edge.fields import mutation, query
from schema.edge.ids import global_id, integer_key
from schema.edge.nodes import fetched_by
from schema.edge.viewers import Viewer

LONGEST_SEARCH = 200
FARTHEST_METERS = 20_100_000
"""Half way round the globe: everything is within it."""


def said(**values: Any) -> dict[str, Any]:
    """The values that were not left out; None was said."""
    return {name: value for name, value in values.items() if value is not strawberry.UNSET}


def rights(viewer: Viewer) -> dict[str, Any]:
    """Who asks, as a business operation wants to know it."""
    return {"by": viewer.id, "is_admin": viewer.role is Role.ADMIN}


def _product_values(input: ProductInput) -> dict[str, Any]:
    return said(name=input.name, description=input.description)


def _store_values(input: StoreInput) -> dict[str, Any]:
    place = input.location
    location = (place.latitude, place.longitude) if place else place
    return said(name=input.name, location=location, time_zone=input.time_zone)


def _near(near: GeoPointInput | None, within_meters: float | None) -> queries.Near | None:
    """Raises BadUserInput for a place or a radius that can't be."""
    if near is None:
        if within_meters is not None:
            raise BadUserInput("withinMeters needs near", ["withinMeters"])
        return None
    if within_meters is not None and not 0 < within_meters <= FARTHEST_METERS:
        message = f"withinMeters must be above 0 and at most {FARTHEST_METERS}, got {within_meters}"
        raise BadUserInput(message, ["withinMeters"])
    return queries.Near(*place_in(near, "near"), within_meters)


async def _product(context: Context, id: str) -> Product | None:
    product_id = integer_key(id, "Product")
    async with context.database.read() as reader:
        row = (await queries.products_by_id(reader, [product_id])).get(product_id)
    return Product.of(row) if row else None


async def _store(context: Context, id: str) -> Store | None:
    store_id = integer_key(id, "Store")
    async with context.database.read() as reader:
        row = (await queries.stores_by_id(reader, [store_id])).get(store_id)
    return Store.of(row) if row else None


@strawberry.type
class CatalogueQuery:
    @query(access=Role.USER, description="Every product, in the order of entry.")
    async def products(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        search: Annotated[
            str | None, described("Only products with this in their name, whatever the case.")
        ] = None,
    ) -> Connection[Product]:
        page = page_request(first, after, (int,))
        if search is not None and len(search) > LONGEST_SEARCH:
            message = f"search may have {LONGEST_SEARCH} characters at most"
            raise BadUserInput(message, ["search"])
        after_id = page.after[0] if page.after else 0
        async with info.context.database.read() as reader:
            rows = await queries.products_page(reader, page.limit, after_id, search)

        async def count() -> int:
            async with info.context.database.read() as counter:
                return await queries.count_products(counter, search)

        return connection(page, rows, lambda row: (row.id,), Product.of, count)

    @query(access=Role.USER, description="One product; null if there is none.")
    async def product(self, info: Info, id: Id) -> Product | None:
        return await _product(info.context, id)

    @query(
        access=Role.USER,
        description="Every store in the order of entry; with `near`, the nearest first.",
    )
    async def stores(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        near: Annotated[GeoPointInput | None, described("Nearest to this point first.")] = None,
        within_meters: Annotated[
            float | None, described("Only stores so near to `near`, in metres.")
        ] = None,
    ) -> Connection[Store]:
        around = _near(near, within_meters)

        async def count() -> int:
            async with info.context.database.read() as counter:
                return await queries.count_stores(counter, around)

        if around is not None:
            found = page_request(first, after, (float, int))
            async with info.context.database.read() as reader:
                nearest = await queries.stores_near(reader, found.limit, around, found.after)
            return connection(
                found,
                nearest,
                lambda row: (row.distance_m, row.store.id),
                lambda row: Store.of(row.store),
                count,
            )
        page = page_request(first, after, (int,))
        async with info.context.database.read() as reader:
            rows = await queries.stores_page(reader, page.limit, page.after[0] if page.after else 0)
        return connection(page, rows, lambda row: (row.id,), Store.of, count)

    @query(access=Role.USER, description="One store; null if there is none.")
    async def store(self, info: Info, id: Id) -> Store | None:
        return await _store(info.context, id)


@strawberry.type
class CatalogueMutation:
    @mutation(access=Role.USER, description="Enters a product; the caller owns it.")
    async def create_product(
        self, info: Info, input: Annotated[ProductInput, described("The product.")]
    ) -> ProductPayload:
        viewer = await info.context.required_viewer()
        async with info.context.database.transaction() as session:
            row = await transactions.create_product(
                session, owner_id=viewer.id, values=_product_values(input), now=info.context.now
            )
        return ProductPayload(product=Product.of(row))

    @mutation(access=Role.MERCHANT, description="Changes a product of the caller's (ADMIN: any).")
    async def update_product(
        self, info: Info, id: Id, input: Annotated[ProductInput, described("What to change.")]
    ) -> ProductPayload:
        viewer = await info.context.required_viewer()
        async with info.context.database.transaction() as session:
            row = await transactions.update_product(
                session,
                integer_key(id, "Product"),
                **rights(viewer),
                values=_product_values(input),
                now=info.context.now,
            )
        return ProductPayload(product=Product.of(row))

    @mutation(
        access=Role.MERCHANT,
        description="Removes a product of the caller's (ADMIN: any). IN_USE while a store has it.",
    )
    async def delete_product(self, info: Info, id: Id) -> DeletePayload:
        viewer = await info.context.required_viewer()
        product_id = integer_key(id, "Product")
        async with info.context.database.transaction() as session:
            await transactions.delete_product(session, product_id, **rights(viewer))
        return DeletePayload(deleted_id=strawberry.ID(global_id("Product", product_id)))

    @mutation(
        access=Role.USER,
        description="Opens a store; the caller owns it and becomes MERCHANT.",
    )
    async def create_store(
        self, info: Info, input: Annotated[StoreInput, described("The store.")]
    ) -> StorePayload:
        viewer = await info.context.required_viewer()
        async with info.context.database.transaction() as session:
            row = await transactions.create_store(
                session,
                owner_id=viewer.id,
                values=_store_values(input),
                time_zone=info.context.policy.time_zone,
                now=info.context.now,
            )
        return StorePayload(store=Store.of(row))

    @mutation(access=Role.MERCHANT, description="Changes a store of the caller's (ADMIN: any).")
    async def update_store(
        self, info: Info, id: Id, input: Annotated[StoreInput, described("What to change.")]
    ) -> StorePayload:
        viewer = await info.context.required_viewer()
        async with info.context.database.transaction() as session:
            row = await transactions.update_store(
                session,
                integer_key(id, "Store"),
                **rights(viewer),
                values=_store_values(input),
                now=info.context.now,
            )
        return StorePayload(store=Store.of(row))

    @mutation(
        access=Role.MERCHANT,
        description="Removes a store of the caller's (ADMIN: any). IN_USE while it has stock.",
    )
    async def delete_store(self, info: Info, id: Id) -> DeletePayload:
        viewer = await info.context.required_viewer()
        store_id = integer_key(id, "Store")
        async with info.context.database.transaction() as session:
            await transactions.delete_store(session, store_id, **rights(viewer))
        return DeletePayload(deleted_id=strawberry.ID(global_id("Store", store_id)))


@fetched_by("Product")
async def fetch_product(context: Context, key: str) -> Product | None:
    await context.required_viewer()
    return await _product(context, key)


@fetched_by("Store")
async def fetch_store(context: Context, key: str) -> Store | None:
    await context.required_viewer()
    return await _store(context, key)
