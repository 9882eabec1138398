"""A GraphQL client for tests: sends a document, gives back what a frontend would see."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from db.queries.accounts import UserRow


@dataclass(frozen=True)
class Answer:
    status: int
    data: dict[str, Any] | None
    errors: list[dict[str, Any]]
    headers: httpx.Headers

    @property
    def code(self) -> str | None:
        """Code of the first top-level error."""
        return self.errors[0]["extensions"]["code"] if self.errors else None

    def __getitem__(self, field: str) -> Any:
        assert not self.errors, self.errors
        assert self.data is not None
        return self.data[field]


class Api:
    def __init__(self, http: httpx.AsyncClient, token: str | None = None) -> None:
        self.http = http
        self.token = token

    def as_(self, token: str) -> "Api":
        return Api(self.http, token)

    async def __call__(
        self, query: str, headers: dict[str, str] | None = None, **variables: Any
    ) -> Answer:
        sent = dict(headers or {})
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        body = {"query": query, "variables": variables}
        response = await self.http.post("/graphql", json=body, headers=sent)
        content = response.json()
        return Answer(
            response.status_code,
            content.get("data"),
            content.get("errors", []),
            response.headers,
        )


SignIn = Callable[..., Awaitable[tuple[Api, UserRow]]]
"""`await sign_in(role)`: a client signed in as a new person of that role, and the person."""
