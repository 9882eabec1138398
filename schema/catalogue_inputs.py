"""What mutations of the catalogue take and return."""

from decimal import Decimal

import strawberry

from schema.accounts import GeoPointInput
from schema.catalogue import Product, Store, StoreProduct
from schema.edge.user_errors import MutationPayload


@strawberry.input(description="Omitted: unchanged. A new product needs a name.")
class ProductInput:
    name: str | None = strawberry.field(
        default=strawberry.UNSET, description="1 to 200 characters, without those around it."
    )
    description: str | None = strawberry.field(
        default=strawberry.UNSET, description="2,000 characters at most; null removes it."
    )


@strawberry.input(description="Omitted: unchanged. A new store needs a name and a location.")
class StoreInput:
    name: str | None = strawberry.field(
        default=strawberry.UNSET, description="1 to 200 characters, without those around it."
    )
    location: GeoPointInput | None = strawberry.field(
        default=strawberry.UNSET, description="Where it is; its promos move with it."
    )
    time_zone: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="IANA zone, such as America/Bogota; a new store has the server's if left out.",
    )


@strawberry.input(description="Omitted: unchanged. New stock needs all four.")
class StoreProductInput:
    store_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Which store; can't be changed later."
    )
    product_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Which product; can't be changed later."
    )
    stock: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Units on hand, not fewer than are held. Written over what is there: "
        "adjustStock adds and takes away instead.",
    )
    base_price: Decimal | None = strawberry.field(
        default=strawberry.UNSET, description="Price of a unit, 0 and up, 2 fraction digits."
    )


@strawberry.type(description="The product after the change.")
class ProductPayload(MutationPayload):
    product: Product | None = strawberry.field(default=None, description="The product.")


@strawberry.type(description="The store after the change.")
class StorePayload(MutationPayload):
    store: Store | None = strawberry.field(default=None, description="The store.")


@strawberry.type(description="The stock after the change.")
class StoreProductPayload(MutationPayload):
    store_product: StoreProduct | None = strawberry.field(default=None, description="The stock.")


@strawberry.type(description="What was removed.")
class DeletePayload(MutationPayload):
    deleted_id: strawberry.ID | None = strawberry.field(
        default=None, description="Global id of what is no longer there."
    )
