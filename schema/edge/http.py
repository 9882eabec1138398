"""GraphQL over HTTP and over graphql-transport-ws, on top of Strawberry's ASGI view."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import structlog
from cross_web import HTTPException
from graphql import GraphQLError
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.schema import BaseSchema
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL, GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import Message

from schema.edge.context import Context
from schema.edge.services import Services

GRAPHQL_JSON = "application/graphql-response+json"
MOST_SUBSCRIPTIONS = 50


def fault_body(message: str, code: str, status: int, request_id: str) -> bytes:
    """One top-level error as a GraphQL response: also for faults met before GraphQL is reached."""
    extensions = {"code": code, "status": status, "requestId": request_id}
    return orjson.dumps({"errors": [{"message": message, "extensions": extensions}]})


class SocketHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Closes with 4400 on any message that is not of the protocol's form.

    Strawberry's handler indexes into messages before it knows that they are objects.
    """

    async def handle_message(self, message: Message) -> None:
        if fault := malformed(message):
            await self.handle_invalid_message(fault)
        else:
            await super().handle_message(message)

    async def handle_task_exception(self, error: Exception) -> None:
        structlog.get_logger(__name__).error("socket.failed", exc_info=error)


def malformed(message: object) -> str | None:
    """What is wrong with a socket message, or None."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return "A message must be an object with a type"
    if message["type"] in {"subscribe", "complete"} and not isinstance(message.get("id"), str):
        return "The message needs an id"
    return malformed_payload(message.get("payload")) if message["type"] == "subscribe" else None


def malformed_payload(payload: object) -> str | None:
    if not isinstance(payload, dict) or not isinstance(payload.get("query"), str):
        return "The payload must be an object with a query"
    if not isinstance(payload.get("variables"), dict | None):
        return "The variables must be an object or null"
    if not isinstance(payload.get("operationName"), str | None):
        return "The operationName must be a string or null"
    return None


class GraphQLApp(GraphQL[Context, None]):
    graphql_transport_ws_handler_class = SocketHandler

    def __init__(
        self,
        schema: BaseSchema,
        services: Callable[[], Services],
        *,
        graphiql_page: Path | None,
        allowed_origins: tuple[str, ...],
    ) -> None:
        super().__init__(
            schema,
            graphql_ide="graphiql" if graphiql_page else None,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_SSE_PROTOCOL],
            max_subscriptions_per_connection=MOST_SUBSCRIPTIONS,
            allowed_origins=allowed_origins,
        )
        self._services = services
        self._graphiql_page = graphiql_page

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self.run(request)
        except HTTPException as error:
            response = self._fault(request, error.reason or "Bad request", error.status_code)
        await response(scope, receive, send)

    def _fault(self, request: Request, message: str, status: int) -> Response:
        code = {404: "NOT_FOUND"}.get(status, "BAD_USER_INPUT")
        body = fault_body(message, code, status, request_id_of(request))
        return Response(body, status, media_type=self._media_type(request))

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        return Context(self._services(), request, request_id=request_id_of(request))

    async def render_graphql_ide(self, request: Request) -> Response:
        if self._graphiql_page is None or not self._graphiql_page.exists():
            return HTMLResponse("GraphiQL is not built: run `make web`.", 404)
        return HTMLResponse(
            self._graphiql_page.read_text(), headers={"cache-control": "no-cache", "vary": "accept"}
        )

    def should_render_graphql_ide(self, request: Any) -> bool:
        # '*/*' alone is a script, and gets an answer to its (missing) query instead of a page.
        return (
            request.method == "GET"
            and request.query_params.get("query") is None
            and "text/html" in request.headers.get("accept", "")
        )

    def decode_json(self, data: str | bytes) -> object:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise json.JSONDecodeError(error.msg, "", 0) from None

    def encode_json(self, data: object) -> str:
        return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS).decode()

    def parse_json(self, data: str | bytes) -> Any:
        parsed = super().parse_json(data)
        if not isinstance(parsed, dict):
            raise HTTPException(400, "The request body must be a JSON object")
        if not isinstance(parsed.get("operationName"), str | None):
            raise HTTPException(400, "operationName must be a string or null")
        return parsed

    def create_response(
        self,
        response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse],
        sub_response: Response,
    ) -> Response:
        response = super().create_response(response_data, sub_response)
        if isinstance(response_data, dict):
            for error in response_data.get("errors") or ():
                retry = error.get("extensions", {}).get("retryAfter")  # type: ignore[attr-defined]
                if retry is not None:
                    response.headers["retry-after"] = str(retry)
        return response

    def _media_type(self, request: Request) -> str:
        accepted = request.headers.get("accept", "")
        return GRAPHQL_JSON if GRAPHQL_JSON in accepted else "application/json"

    def _handle_errors(
        self, errors: list[GraphQLError], response_data: GraphQLHTTPResponse
    ) -> None:
        return


def request_id_of(connection: HTTPConnection) -> str:
    return str(connection.scope.get("state", {}).get("request_id", ""))
