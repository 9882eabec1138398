"""GraphQL over HTTP and over graphql-transport-ws, on top of Strawberry's ASGI view."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from cross_web import HTTPException
from graphql import GraphQLError
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL, GRAPHQL_TRANSPORT_WS_PROTOCOL

from schema.edge.broadcasts import Broadcasts
from schema.edge.context import Context
from schema.edge.execution import Schema
from schema.edge.services import Services
from schema.edge.sockets import Socket

GRAPHQL_JSON = "application/graphql-response+json"


def fault_body(message: str, code: str, status: int, request_id: str) -> bytes:
    """One top-level error as a GraphQL response: also for faults met before GraphQL is reached."""
    extensions = {"code": code, "status": status, "requestId": request_id}
    return orjson.dumps({"errors": [{"message": message, "extensions": extensions}]})


class GraphQLApp(GraphQL[Context, None]):
    schema: Schema

    def __init__(
        self,
        schema: Schema,
        services: Callable[[], Services],
        *,
        graphiql_page: Path | None,
        allowed_origins: tuple[str, ...],
    ) -> None:
        super().__init__(
            schema,
            graphql_ide="graphiql" if graphiql_page else None,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_SSE_PROTOCOL],
            allowed_origins=allowed_origins,
        )
        self._broadcasts = Broadcasts(schema)
        self._services = services
        self._graphiql_page = graphiql_page

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._serve_socket(WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        try:
            response = await self.run(request)
        except HTTPException as error:
            response = self._fault(request, error.reason or "Bad request", error.status_code)
        await response(scope, receive, send)

    async def _serve_socket(self, websocket: WebSocket) -> None:
        if not self._check_websocket_origin(websocket):
            await self.reject_websocket(websocket)
            return
        protocol = await self.pick_websocket_subprotocol(websocket)
        await websocket.accept(protocol)
        if protocol is None:
            await websocket.close(4406, "Subprotocol not acceptable")
            return
        context = await self.get_context(websocket, websocket)
        await Socket(websocket, self.schema, self._broadcasts, context).serve()

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
