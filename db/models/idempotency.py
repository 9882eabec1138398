"""Keys of requests that were answered: a repeat gets the first answer."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.models.metadata import Table


class IdempotencyKey(Table):
    """Written in the transaction that did the work, so it exists only where the work was done.

    `request_hash` tells a repeat from a key used for something else; `response_ref` is the primary
    key of what the first request made.
    """

    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    operation: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    response_ref: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)
