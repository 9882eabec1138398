"""The one schema, assembled from its subjects."""

from graphql import GraphQLSchema, Undefined
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from resolvers.accounts import AccountMutation, AccountQuery
from resolvers.attendance import AttendanceQuery
from resolvers.health import HealthQuery
from resolvers.models import ModelMutation, ModelQuery, ModelSubscription
from resolvers.nodes import NodeQuery
from schema.edge.execution import Schema
from schema.edge.operations import Operation, cost_weights
from schema.edge.scalars import SCALARS
from schema.edge.user_errors import InputError

Query = merge_types("Query", (NodeQuery, HealthQuery, AccountQuery, AttendanceQuery, ModelQuery))
Mutation = merge_types("Mutation", (AccountMutation, ModelMutation))
Subscription = merge_types("Subscription", (ModelSubscription,))


def build_schema() -> Schema:
    built = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[InputError],
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
