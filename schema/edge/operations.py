"""Around every operation: readable errors, figures, and no work done twice."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from graphql import FieldNode, GraphQLError, GraphQLSchema, OperationDefinitionNode
from prometheus_client import Counter, Histogram
from strawberry.extensions import SchemaExtension

from auth.errors import Forbidden, RequestFault
from db.errors import NotOwner
from db.session import is_outage
from schema.edge.context import Context
from schema.edge.faults import ServiceUnavailable
from schema.edge.fields import CostDirective

log = structlog.get_logger(__name__)

OPERATIONS = Counter(
    "auspex_operations_total", "GraphQL operations by their first root field.", ["kind", "field"]
)
SECONDS = Histogram("auspex_operation_seconds", "Time an operation took.", ["kind"])
FAULTS = Counter("auspex_faults_total", "Top-level errors sent to clients.", ["code"])

MASKED = "Something went wrong on our side. Quote the request id when you report it."


def request_fault(error: GraphQLError) -> RequestFault | None:
    original = error.original_error
    while isinstance(original, GraphQLError):
        original = original.original_error
    if original is not None and is_outage(original):
        log.warning("database.away", error=type(original).__name__)
        return ServiceUnavailable("The database does not answer. Try again in a moment.")
    if isinstance(original, NotOwner):
        return Forbidden()
    return original if isinstance(original, RequestFault) else None


def is_request_error(error: GraphQLError) -> bool:
    """Found before anything ran: syntax, validation, variables. Ours to mask is what ran."""
    if error.path is not None:
        return False
    return error.original_error is None or bool(error.nodes or error.source)


def describe(error: GraphQLError, context: Context) -> GraphQLError:
    """The error as the client sees it: with a code; masked unless it was expected."""
    fault = request_fault(error)
    message, extensions = error.message, {"code": "BAD_USER_INPUT", "status": 400}
    if fault is not None:
        message = str(fault)
        extensions = {"code": fault.code, "status": fault.status, **fault.data}
    elif not is_request_error(error):
        log.error("operation.failed", exc_info=error.original_error or error, path=error.path)
        message = error.message if context.policy.debug else MASKED
        extensions = {"code": "INTERNAL_SERVER_ERROR", "status": 500}
    FAULTS.labels(extensions["code"]).inc()
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions | {"requestId": context.request_id},
    )


class Operation(SchemaExtension):
    """Parses and validates from the cache, and counts."""

    def on_operation(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        kind, field = self._kind_and_field()
        SECONDS.labels(kind).observe(time.perf_counter() - started)
        OPERATIONS.labels(kind, field).inc()

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        if context.query:
            context.graphql_document = context.context.services.documents.read(context.query).syntax
        yield

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        if context.query:
            documents = context.context.services.documents
            context.pre_execution_errors = documents.validate(
                documents.read(context.query), self._core_schema()
            )
        yield

    def _core_schema(self) -> GraphQLSchema:
        return self.execution_context.schema._schema  # noqa: SLF001 - it has no public name

    def _kind_and_field(self) -> tuple[str, str]:
        """Label values from the schema, so that clients can't make them up."""
        document = self.execution_context.graphql_document
        for operation in document.definitions if document else ():
            if isinstance(operation, OperationDefinitionNode):
                root = self._core_schema().get_root_type(operation.operation)
                known = root.fields if root else {}
                for selection in operation.selection_set.selections:
                    if isinstance(selection, FieldNode) and selection.name.value in known:
                        return operation.operation.value, selection.name.value
                return operation.operation.value, "other"
        return "unread", "other"


def cost_weights(strawberry_schema: Any) -> Mapping[tuple[str, str], int]:
    """(type, field) -> weight, read once from the fields' @cost directives."""
    weights = {}
    converter = strawberry_schema.schema_converter
    for name, concrete in converter.type_map.items():
        for field in getattr(concrete.definition, "fields", ()):
            for directive in getattr(field, "directives", ()):
                if isinstance(directive, CostDirective):
                    field_name = converter.config.name_converter.get_graphql_name(field)
                    weights[name, field_name] = directive.weight
    return weights
