"""Work outside the request: the job is the truth, the outbox row a message to send."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.metadata import Table, one_of


class JobStatus(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Job(Table):
    """`attempts` fences: only the attempt that holds the lease may finish the job.

    `resend_at` is when a QUEUED job counts as lost on the way (the broker forgot the message) and
    is sent again; `leased_until` is when a RUNNING job's worker counts as dead.
    """

    __tablename__ = "jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    actor: Mapped[str]
    args: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(server_default=JobStatus.QUEUED)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    max_attempts: Mapped[int]
    sends: Mapped[int] = mapped_column(server_default=text("1"))
    available_at: Mapped[datetime]
    resend_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("status", JobStatus),
        CheckConstraint("max_attempts > 0", name="max_attempts"),
        CheckConstraint("(status = 'RUNNING') = (leased_until IS NOT NULL)", name="lease"),
        Index("jobs_queued_idx", "resend_at", postgresql_where=text("status = 'QUEUED'")),
        Index("jobs_running_idx", "leased_until", postgresql_where=text("status = 'RUNNING'")),
        Index("jobs_failed_idx", "finished_at", "id", postgresql_where=text("status = 'FAILED'")),
    )


class OutboxMessage(Table):
    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    actor: Mapped[str]
    available_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    dispatched_at: Mapped[datetime | None]

    __table_args__ = (
        Index("outbox_pending_idx", "available_at", postgresql_where=text("dispatched_at IS NULL")),
        Index(None, "job_id"),
        Index(None, "dispatched_at"),
    )
