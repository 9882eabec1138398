"""Answers of models that are kept: what went in, what came out, and which version gave it."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.jobs import JobStatus
from db.models.metadata import Table, one_of


class PredictionKind(StrEnum):
    ATTENDANCE = "ATTENDANCE"
    COURSE = "COURSE"
    PAID = "PAID"


class AdmissionDecision(StrEnum):
    ADMIT = "ADMIT"
    WAITLIST = "WAITLIST"
    DENY = "DENY"


class Prediction(Table):
    """`version` is the text on the answer ('mock' too); `version_id` the registry's row, if any.

    `promo_id` and `decision` are set for the admissions of a promo.
    """

    __tablename__ = "predictions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str]
    status: Mapped[str]
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), index=True)
    version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))
    version: Mapped[str]
    input: Mapped[dict[str, Any]]
    output: Mapped[dict[str, Any] | None]
    explain: Mapped[list[Any] | None]
    is_mock: Mapped[bool]
    promo_id: Mapped[int | None] = mapped_column(ForeignKey("flash_promos.id"))
    decision: Mapped[str | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("kind", PredictionKind),
        one_of("status", JobStatus),
        one_of("decision", AdmissionDecision),
        CheckConstraint("(status = 'SUCCEEDED') = (output IS NOT NULL)", name="output"),
        CheckConstraint("(promo_id IS NULL) = (decision IS NULL)", name="admission"),
        Index(None, "user_id", text("created_at DESC"), text("id DESC")),
        Index(None, "version_id", "created_at"),
        Index(None, "promo_id", "created_at", "id"),
        Index(
            "one_admission_per_user_and_promo",
            "promo_id",
            "user_id",
            unique=True,
            postgresql_where=text("promo_id IS NOT NULL"),
        ),
    )
