"""One subscription as it runs: where its events come from, and each one's answer as JSON.

Strawberry wraps every event of every subscriber in its extensions, three generators and a result
object; here graphql-core executes the event, and the answer is written as it goes over the wire.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from inspect import isawaitable
from typing import Any, cast

import orjson
from graphql import GraphQLError
from graphql.execution import ExecutionResult, Executor, create_source_event_stream
from graphql.execution.collect_fields import collect_fields
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.edge.context import Context
from schema.edge.operations import describe


class Refused(Exception):
    """The operation did not begin; the errors are described already."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends to begin an operation."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None

    @property
    def key(self) -> bytes:
        """The same for requests that mean the same.

        A digest, because it is kept: a document may have 100 kB, and what orjson returns takes
        4 kB at least. Cryptographic, because whoever found a second document with the same key
        would change what others get.
        """
        asked = [self.query, self.operation_name, self.variables or {}]
        return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()


class EventExecutor(Executor[None]):
    """Strawberry's executor without incremental delivery, which subscriptions can't have."""

    operation_extensions: dict[str, Any] | None = None
    build_resolve_info = StrawberryGraphQLCoreExecutionContext.build_resolve_info


class ForgetfulExecutor(StrawberryGraphQLCoreExecutionContext):
    """For streams that Strawberry runs (server-sent events): empties the memo `Plan` avoids."""

    def build_per_event_executor(self, payload: Any) -> Executor[Any]:
        made = super().build_per_event_executor(payload)
        made._relevant_sub_fields = {}  # noqa: SLF001 - nothing public empties it
        return made


class Plan:
    """What a request amounts to, whoever sends it: its fields and variables, ready to run.

    graphql-core collects the root's fields for each event, and keeps what it collects below them in
    a memo that lives as long as the stream: 1.5 KB an event, without end. Here it is done once.
    """

    def __init__(self, executor: Executor[Any]) -> None:
        self._executor = executor
        root = executor.schema.subscription_type
        assert root is not None  # noqa: S101 - the document is valid
        self.root = root
        self.fields = collect_fields(
            executor.schema,
            executor.fragments,
            executor.variable_values,
            root,
            executor.operation,
            executor.hide_suggestions,
        ).grouped_field_set

    def executor(self, event: object, context: Context) -> Executor[Any]:
        made = self._executor.build_per_event_executor(event)
        made.context_value = context
        return made


@dataclass(frozen=True, slots=True)
class Stream:
    """The events of a source, to be closed by whoever reads them, and how each is answered."""

    source: AsyncGenerator[Any, None]
    plan: Plan
    context: Context

    @classmethod
    async def open(cls, plan: Plan, context: Context) -> "Stream":
        """Calls the resolver. Raises Refused if it, its guard or its arguments refuse."""
        source = create_source_event_stream(plan.executor(None, context))
        if isawaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            raise Refused([describe(error, context) for error in source.errors or ()])
        return cls(cast("AsyncGenerator[Any, None]", source), plan, context)

    async def answer(self, event: object) -> str:
        """The payload of one event."""
        self.context.loaders.clear()  # a stream outlives what a request may remember
        executor = self.plan.executor(event, self.context)
        collected = executor.collected_errors
        try:
            data = executor.execute_collected_root_fields(
                self.plan.root, event, self.plan.fields, serially=False, new_defer_usages=()
            )
            if executor.is_awaitable(data):
                data = await data
        except GraphQLError as error:  # the root field may not be null
            collected.add(error, None)
            data = None
        return payload_of(data, [describe(error, self.context) for error in collected.errors])


def payload_of(data: object, errors: Sequence[GraphQLError] = ()) -> str:
    """The payload of a `next` message."""
    payload = {"data": data}
    if errors:
        payload["errors"] = [error.formatted for error in errors]
    return as_json(payload)


def failure(fault: Exception, context: Context) -> str:
    """The payload of a stream that breaks off."""
    return payload_of(None, [describe(wrapped(fault), context)])


def as_json(data: object) -> str:
    return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def wrapped(fault: Exception) -> GraphQLError:
    if isinstance(fault, GraphQLError):
        return fault
    return GraphQLError(str(fault), original_error=fault)
