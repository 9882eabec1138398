"""What can be sold: products, stores, and the stock that a store has of a product."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Self

import strawberry

from db.models.accounts import Role
from db.models.promos import PromoStatus as PromoStatusName
from db.queries import catalogue as queries
from db.queries import store_products as stock_queries
from db.queries.accounts import users_by_id
from schema.accounts import GeoPoint, GeoPointInput, User
from schema.edge.arguments import After, First, described
from schema.edge.connections import Connection, connection, page_request
from schema.edge.context import Info
from schema.edge.faults import BadUserInput
from schema.edge.fields import link
from schema.edge.ids import global_id
from schema.edge.loaders import Query, load
from schema.edge.nodes import Node

if TYPE_CHECKING:
    from schema.promos import Promo

PromoStatus = strawberry.enum(
    PromoStatusName,
    name="PromoStatus",
    description="SCHEDULED becomes ACTIVE and then ENDED by the clock; CANCELLED by its owner.",
)


@strawberry.type(description="An amount of money.")
class Money:
    amount: Decimal = strawberry.field(description="Exact, with 2 fraction digits.")
    currency: str = strawberry.field(description="ISO 4217 code; one for the whole server.")


def place_in(point: GeoPointInput, argument: str) -> tuple[float, float]:
    """Latitude and longitude. Raises BadUserInput naming which one is out of range."""
    for degrees, name, limit in (
        (point.latitude, "latitude", 90),
        (point.longitude, "longitude", 180),
    ):
        if not -limit <= degrees <= limit:
            message = f"{argument}.{name} must be between -{limit} and {limit}, got {degrees}"
            raise BadUserInput(message, [argument, name])
    return point.latitude, point.longitude


async def _stock_of(
    info: Info,
    parent_id: int,
    first: int,
    after: str | None,
    pages: Query[int, Sequence[stock_queries.StoreProductRow]],
    counts: Query[int, int],
) -> "Connection[StoreProduct]":
    """A page of one parent's stock, fetched together with the pages of its siblings."""
    page = page_request(first, after, (int,))
    after_id = page.after[0] if page.after else 0
    rows = await load(info.context, pages, parent_id, limit=page.limit, after_id=after_id)

    async def count() -> int:
        return await load(info.context, counts, parent_id) or 0

    return connection(page, rows or (), lambda row: (row.id,), StoreProduct.of, count)


@strawberry.type(description="Something that stores sell.")
class Product(Node):
    name: str = strawberry.field(description="Its name, 1 to 200 characters.")
    description: str | None = strawberry.field(description="What it is, in more words.")
    created_at: datetime = strawberry.field(description="When it was entered.")
    updated_at: datetime = strawberry.field(description="Last change.")
    row: strawberry.Private[queries.ProductRow]

    @classmethod
    def of(cls, row: queries.ProductRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("Product", row.id)),
            name=row.name,
            description=row.description,
            created_at=row.created_at,
            updated_at=row.updated_at,
            row=row,
        )

    @link(description="Which stores have it.")
    async def store_products(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection["StoreProduct"]:
        return await _stock_of(
            info,
            self.row.id,
            first,
            after,
            stock_queries.store_products_of_products,
            stock_queries.count_stock_of_products,
        )


@strawberry.type(description="A place that sells.")
class Store(Node):
    name: str = strawberry.field(description="Its name, 1 to 200 characters.")
    location: GeoPoint = strawberry.field(description="Where it is.")
    time_zone: str = strawberry.field(description="IANA zone of its opening days.")
    created_at: datetime = strawberry.field(description="When it was entered.")
    updated_at: datetime = strawberry.field(description="Last change.")
    row: strawberry.Private[queries.StoreRow]

    @classmethod
    def of(cls, row: queries.StoreRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("Store", row.id)),
            name=row.name,
            location=GeoPoint(latitude=row.latitude, longitude=row.longitude),
            time_zone=row.time_zone,
            created_at=row.created_at,
            updated_at=row.updated_at,
            row=row,
        )

    @link(description="Whose it is; null unless you are that person or ADMIN.", personal=True)
    async def owner(self, info: Info) -> User | None:
        viewer = await info.context.viewer()
        if viewer is None:
            return None
        if viewer.id == self.row.owner_id:
            return User.of(viewer)
        if viewer.role is not Role.ADMIN:
            return None  # a User shows address and place, which are nobody else's business
        row = await load(info.context, users_by_id, self.row.owner_id)
        return User.of(row) if row else None

    @link(
        description="Metres from a point, or from your own location; null if neither is known.",
        personal=True,
    )
    async def distance_meters(
        self,
        info: Info,
        from_: Annotated[
            GeoPointInput | None,
            strawberry.argument(name="from", description="If left out: where you are."),
        ] = None,
    ) -> float | None:
        if from_ is not None:
            latitude, longitude = place_in(from_, "from")
            return await load(
                info.context,
                queries.store_distances,
                self.row.id,
                latitude=latitude,
                longitude=longitude,
            )
        viewer = await info.context.viewer()
        if viewer is None:
            return None
        return await load(
            info.context, queries.store_distances_of_user, self.row.id, user_id=viewer.id
        )

    @link(description="What it has.")
    async def store_products(
        self, info: Info, first: First = 20, after: After = None
    ) -> Connection["StoreProduct"]:
        return await _stock_of(
            info,
            self.row.id,
            first,
            after,
            stock_queries.store_products_of_stores,
            stock_queries.count_stock_of_stores,
        )


@strawberry.type(description="Units of a product in a store. stock = onHand - held.")
class StoreProduct(Node):
    stock: int = strawberry.field(description="Units that can be reserved now.")
    on_hand: int = strawberry.field(description="Units in the store, those that are held included.")
    held: int = strawberry.field(description="Units kept for people who have yet to check out.")
    created_at: datetime = strawberry.field(description="When it was entered.")
    updated_at: datetime = strawberry.field(description="Last change by the store.")
    row: strawberry.Private[stock_queries.StoreProductRow]

    @classmethod
    def of(cls, row: stock_queries.StoreProductRow) -> Self:
        return cls(
            id=strawberry.ID(global_id("StoreProduct", row.id)),
            stock=row.on_hand - row.held,
            on_hand=row.on_hand,
            held=row.held,
            created_at=row.created_at,
            updated_at=row.updated_at,
            row=row,
        )

    @link(description="Where.")
    def store(self) -> Store:
        return Store.of(self.row.store)

    @link(description="Of what.")
    def product(self) -> Product:
        return Product.of(self.row.product)

    @link(description="Price of a unit without any promo.")
    def base_price(self, info: Info) -> Money:
        return Money(amount=self.row.base_price, currency=info.context.policy.currency)

    @link(description="Promos of this stock, newest first.")
    async def promos(
        self,
        info: Info,
        status: Annotated[PromoStatus | None, described("Only promos in this state.")] = None,  # type: ignore[valid-type]
        first: First = 20,
        after: After = None,
    ) -> Connection[Annotated["Promo", strawberry.lazy("schema.promos")]]:
        from schema.promos import Promo  # noqa: PLC0415 - stock leads to promos, promos to stock

        page = page_request(first, after, (int,))
        rows = await load(
            info.context,
            stock_queries.promos_of_stock,
            self.row.id,
            limit=page.limit,
            before_id=page.after[0] if page.after else None,
            status=status,
        )

        async def count() -> int:
            counts = stock_queries.count_promos_of_stock
            return await load(info.context, counts, self.row.id, status=status) or 0

        made: Any = connection(page, rows or (), lambda row: (row.id,), Promo.of, count)
        return made  # type: ignore[no-any-return]
