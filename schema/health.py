"""How the server is, and what is left of the caller's budget."""

from datetime import datetime

import strawberry


@strawberry.type(description="Whether the parts that the API needs answer.")
class Health:
    status: str = strawberry.field(
        description="'ok', or 'degraded' when something does not answer."
    )
    name: str = strawberry.field(description="Name of this installation (APP_NAME).")
    version: str = strawberry.field(description="Version of the server.")
    database: bool = strawberry.field(description="PostgreSQL answers.")
    redis: bool = strawberry.field(description="Redis answers.")
    mock_models: list[str] = strawberry.field(
        description="Keys of the models that answer 0.5 because their artifact is missing."
    )


@strawberry.type(description="The caller's budget of cost points, per minute.")
class RateLimit:
    limit: int = strawberry.field(description="Points in a full budget.")
    cost: int = strawberry.field(description="Points that this request costs.")
    remaining: int = strawberry.field(description="Points left after this request.")
    reset_at: datetime = strawberry.field(description="When the budget is full again.")
