"""POST /token: the same login for tools that speak the OAuth 2 password form."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth.errors import RequestFault
from db.errors import BadCredentials
from resolvers.accounts import log_in
from schema.edge.context import Context

LOGIN_RATE = (10, 300)
NO_STORE = {"cache-control": "no-store"}


def _error(code: str, message: str, status: int) -> Response:
    body = {"error": code, "error_description": message}
    return JSONResponse(body, status, headers=NO_STORE)


async def token(request: Request) -> Response:
    """Form fields `username` and `password`; answers and errors as in RFC 6749, section 5."""
    context = Context(request.app.state.services, request)
    form = await request.form(max_fields=10, max_files=0)
    name, password = form.get("username"), form.get("password")
    if not isinstance(name, str) or not isinstance(password, str) or "\0" in name:
        return _error("invalid_request", "username and password are required", 400)
    try:
        # the limit and its count are those of the `login` mutation
        await context.services.limiter.hit("login", context.address_caller, *LOGIN_RATE)
        if not context.policy.local_accounts:
            return _error("unsupported_grant_type", "accounts are kept by a provider", 400)
        row = await log_in(context, name, password)
    except BadCredentials as error:
        return _error("invalid_grant", error.message, 400)
    except RequestFault as fault:
        return _error("invalid_request", fault.message, fault.status)
    issued, seconds = context.services.tokens.issue(row.id, datetime.now(UTC))
    body = {"access_token": issued, "token_type": "bearer", "expires_in": seconds}
    return JSONResponse(body, headers=NO_STORE)
