"""The one schema, assembled from its subjects."""

from graphql import GraphQLSchema, Undefined
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from resolvers.accounts import AccountMutation, AccountQuery
from resolvers.attendance import AttendanceQuery
from resolvers.catalogue import CatalogueMutation, CatalogueQuery
from resolvers.health import HealthQuery
from resolvers.holds import HoldMutation, HoldQuery, HoldSubscription
from resolvers.models import ModelMutation, ModelQuery, ModelSubscription
from resolvers.nodes import NodeQuery
from resolvers.notifications import NotificationMutation, NotificationSubscription
from resolvers.promos import PromoMutation, PromoQuery, PromoSubscription
from resolvers.store_products import StoreProductMutation, StoreProductQuery
from resolvers.waitlists import WaitlistMutation, WaitlistSubscription
from schema.edge.execution import Schema
from schema.edge.operations import Operation, cost_weights
from schema.edge.scalars import SCALARS
from schema.edge.user_errors import InputError
from schema.holds import EligibilityError, HoldError, StockError
from schema.waitlists import AdmissionError

Query = merge_types(
    "Query",
    (
        NodeQuery,
        HealthQuery,
        AccountQuery,
        AttendanceQuery,
        ModelQuery,
        CatalogueQuery,
        StoreProductQuery,
        PromoQuery,
        HoldQuery,
    ),
)
Mutation = merge_types(
    "Mutation",
    (
        AccountMutation,
        ModelMutation,
        CatalogueMutation,
        StoreProductMutation,
        PromoMutation,
        HoldMutation,
        WaitlistMutation,
        NotificationMutation,
    ),
)
Subscription = merge_types(
    "Subscription",
    (
        ModelSubscription,
        PromoSubscription,
        HoldSubscription,
        WaitlistSubscription,
        NotificationSubscription,
    ),
)


def build_schema() -> Schema:
    built = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[InputError, StockError, HoldError, EligibilityError, AdmissionError],
        extensions=[Operation],
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    _forget_null_defaults(built._schema)  # noqa: SLF001 - Strawberry has no public name for it
    built.weights = cost_weights(built)
    return built


def _forget_null_defaults(core: GraphQLSchema) -> None:
    """`after: String` instead of `after: String = null`: Python's None is only our default."""
    for kind in core.type_map.values():
        for field in getattr(kind, "fields", {}).values():
            for argument in getattr(field, "args", {}).values():
                if argument.default_value is None:
                    argument.default_value = Undefined


schema = build_schema()
