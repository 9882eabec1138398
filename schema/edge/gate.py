"""The outermost layer of the server: request ids, size and time of bodies, headers, a log line."""

import asyncio
import re
import time
from uuid import uuid4

import structlog
from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schema.edge.http import fault_body

log = structlog.get_logger("http")

LARGEST_BODY = 1024 * 1024
BODY_SECONDS = 15.0
REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
QUIET_PATHS = ("/healthz", "/readyz", "/metrics", "/static/")

REQUESTS = Counter("auspex_http_requests_total", "HTTP requests.", ["method", "status"])
METHODS = {"GET", "POST", "HEAD", "OPTIONS"}

# Monaco writes <style> elements; scripts stay without 'unsafe-inline'.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-site",
}


class BodyRefused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Gate:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            if scope["type"] == "websocket":
                await self.app(scope, receive, send)
            else:
                await _Exchange(self.app, scope, receive, send, request_id).run()


class _Exchange:
    """One HTTP request and its response."""

    def __init__(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, request_id: str
    ) -> None:
        self.app, self.scope = app, scope
        self.receive_raw, self.send_raw = receive, send
        self.request_id = request_id
        self.received = 0
        self.body_done = False
        self.status = 0

    async def run(self) -> None:
        started = time.perf_counter()
        self.deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            self._refuse_declared_size()
            await self.app(self.scope, self.receive, self.send)
        except BodyRefused as refusal:
            await self._refuse(refusal.status, str(refusal))
        except Exception:
            log.exception("request.failed")
            await self._refuse(500, "Something went wrong on our side.")
        finally:
            self._tell(time.perf_counter() - started)

    def _refuse_declared_size(self) -> None:
        declared = Headers(scope=self.scope).get("content-length", "")
        if declared.isdigit() and int(declared[:12]) > LARGEST_BODY:
            raise BodyRefused(413, f"The body may have {LARGEST_BODY:,} bytes at most")

    async def receive(self) -> Message:
        if self.body_done:  # waiting for the client to hang up may take as long as it likes
            return await self.receive_raw()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.receive_raw()
        except TimeoutError:
            raise BodyRefused(408, f"The body took longer than {BODY_SECONDS:.0f} s") from None
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self.body_done = not message.get("more_body", False)
            if self.received > LARGEST_BODY:
                raise BodyRefused(413, f"The body may have {LARGEST_BODY:,} bytes at most")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self.send_raw(message)

    async def _refuse(self, status: int, message: str) -> None:
        if self.status:
            return  # the response has begun: nothing can be said any more
        code = "INTERNAL_SERVER_ERROR" if status >= 500 else "BAD_USER_INPUT"  # noqa: PLR2004
        body = fault_body(message, code, status, self.request_id)
        response = Response(
            body, status, media_type="application/json", headers={"connection": "close"}
        )
        await response(self.scope, self.receive_raw, self.send)

    def _tell(self, seconds: float) -> None:
        method = self.scope["method"] if self.scope["method"] in METHODS else "other"
        REQUESTS.labels(method, str(self.status)).inc()
        path = self.scope["path"]
        if not path.startswith(QUIET_PATHS):
            log.info(
                "request", method=method, path=path, status=self.status, ms=round(seconds * 1e3, 1)
            )
