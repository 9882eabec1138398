"""How a document is run: admitted, executed by Strawberry, and its errors described."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from typing import Any
from weakref import WeakValueDictionary

import orjson
import strawberry
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
)
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.execution import PreExecutionError

from auth.errors import RequestFault
from schema.edge.context import Context
from schema.edge.faults import BadUserInput, QueryTooComplex
from schema.edge.limits import NUL_REFUSED, Meter, RootFields, check_measure
from schema.edge.operations import describe
from schema.edge.streams import EventExecutor, ForgetfulExecutor, Plan, Refused, Request, wrapped

NO_STREAM = "A subscription needs a WebSocket, or 'Accept: text/event-stream'"
UNREADABLE = "variables may nest 250 levels deep and hold whole numbers of 64 bits at most"
ONCE_A_REQUEST = {"login", "register"}
"""A request that tries fifty passwords in fifty aliases would pass a limit on requests."""


class Schema(strawberry.Schema):
    """Both ways in, one answer or a stream, pass `admit` first and `describe` last."""

    weights: Mapping[tuple[str, str], int] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"execution_context_class": ForgetfulExecutor, **kwargs})
        self._plans: WeakValueDictionary[bytes, Plan] = WeakValueDictionary()

    @property
    def core(self) -> GraphQLSchema:
        return self._schema

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[Any] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        try:
            await self.admit(query, variable_values, operation_name, context_value, streaming=False)
        except Exception as fault:  # noqa: BLE001 - described, and logged if nobody expected it
            return ExecutionResult(data=None, errors=[describe(wrapped(fault), context_value)])
        result = await super().execute(
            query,
            variable_values,
            context_value,
            root_value,
            operation_name,
            allowed_operation_types,
            operation_extensions,
        )
        return described(result, context_value)  # type: ignore[no-any-return]

    async def stream(  # type: ignore[override]
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
        operation_extensions: dict[str, Any] | None = None,
        allowed_operation_types: Iterable[Any] | None = None,
    ) -> AsyncIterator[Any]:
        # A socket has one context; each of its operations gets loaders and a cost of its own.
        context = context_value.for_operation()
        results = await super().stream(
            query,
            variable_values,
            context,
            root_value,
            operation_name,
            operation_extensions,
            allowed_operation_types,
        )

        async def admitted() -> AsyncIterator[Any]:
            async with aclosing(results):
                try:
                    await self.admit(
                        query, variable_values, operation_name, context, streaming=True
                    )
                except Exception as fault:  # noqa: BLE001 - the same
                    yield PreExecutionError(data=None, errors=[describe(wrapped(fault), context)])
                    return
                async for result in results:
                    yield described(result, context)

        return admitted()

    async def admit(
        self,
        query: str | None,
        variables: Mapping[str, Any] | None,
        operation_name: str | None,
        context: Context,
        *,
        streaming: bool,
    ) -> OperationDefinitionNode:
        """Judges the document and charges the caller for it, before anything of it runs.

        Returns the operation that will run. Raises GraphQLError (syntax), BadUserInput,
        QueryTooComplex, RateLimited.
        """
        if not query:
            raise BadUserInput("The request has no query", ["query"])
        refuse_nul(variables)
        documents = context.services.documents
        document = documents.read(query).syntax
        operation = operation_of(document, operation_name)
        if operation.operation is OperationType.SUBSCRIPTION and not streaming:
            raise BadUserInput(NO_STREAM)
        refuse_repeats(document, operation)
        measure = Meter(self._schema, self.weights, document, variables).measure(operation)
        check_measure(measure, documents.limits, context.policy.most_query_cost)
        await context.spend(measure.cost)
        return operation

    def subscribes(self, request: Request, context: Context) -> bool:
        """Whether the request is a subscription; one that can't be read is not."""
        try:
            syntax = context.services.documents.read(request.query).syntax
            meant = operation_of(syntax, request.operation_name)
        except (GraphQLError, RequestFault):
            return False
        return meant.operation is OperationType.SUBSCRIPTION

    async def admit_subscription(
        self, request: Request, context: Context
    ) -> OperationDefinitionNode:
        """Admits and validates; everything but the guard of the field. Raises Refused."""
        try:
            operation = await self.admit(
                request.query,
                request.variables,
                request.operation_name,
                context,
                streaming=True,
            )
        except Exception as fault:
            raise Refused([describe(wrapped(fault), context)]) from fault
        documents = context.services.documents
        errors = documents.validate(documents.read(request.query), self._schema)
        if errors:
            raise Refused([describe(error, context) for error in errors])
        return operation

    def plan(self, request: Request, context: Context) -> Plan:
        """How a valid subscription runs, kept while anybody runs it so. Raises Refused for wrong
        variables.
        """
        key = request.key
        plan = self._plans.get(key)
        if plan is None:
            executor = EventExecutor.build(
                self._schema,
                context.services.documents.read(request.query).syntax,
                raw_variable_values=request.variables,
                operation_name=request.operation_name,
            )
            if isinstance(executor, list):
                raise Refused([describe(error, context) for error in executor])
            plan = self._plans[key] = Plan(executor)
        return plan

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Strawberry logs every error, a mistyped field too; ours are logged where described."""


def described(result: Any, context: Context) -> Any:
    if errors := getattr(result, "errors", None):
        result.errors = [describe(error, context) for error in errors]
    return result


def operation_of(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    """The operation that will run. Raises BadUserInput unless exactly one is meant."""
    meant = [
        definition
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
        and (not name or (definition.name and definition.name.value == name))
    ]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        known = f" named '{name[:80]}'" if name else ""
        raise BadUserInput(f"The document has no operation{known}", ["operationName"])
    raise BadUserInput("operationName must say which of the operations to run", ["operationName"])


def refuse_nul(variables: Mapping[str, Any] | None) -> None:
    """Raises BadUserInput for a NUL in any text (PostgreSQL can't store one), and for variables
    that can't be written as JSON again.
    """
    if not variables:
        return
    try:
        written = orjson.dumps([variables])  # as deep as in the key of a stream
    except TypeError as error:
        raise BadUserInput(UNREADABLE, ["variables"]) from error
    # Looking for the escape in the JSON again is quick; only where it is found, all is walked.
    if b"\\u0000" in written and has_nul(variables):
        raise BadUserInput(NUL_REFUSED, ["variables"])


def has_nul(value: Any) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) and "\0" in one:
            return True
        if isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one
    return False


def refuse_repeats(document: DocumentNode, operation: OperationDefinitionNode) -> None:
    """Raises QueryTooComplex if a request tries to log in or register more than once."""
    if operation.operation is not OperationType.MUTATION:
        return
    asked = RootFields(document).of(operation.selection_set)
    for name in ONCE_A_REQUEST:
        if asked[name] > 1:
            raise QueryTooComplex(f"A request may call {name} once.")
