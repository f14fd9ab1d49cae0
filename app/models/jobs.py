from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class Job(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_ready", "priority", "run_at", postgresql_where=text("state = 'queued'")),
        Index("ix_jobs_lease", "lease_until", postgresql_where=text("state = 'running'")),
        Index(
            "uq_jobs_dedupe_key",
            "dedupe_key",
            unique=True,
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_jobs_tenant_id", "tenant_id"),
        Index("ix_jobs_finished", "finished_at", postgresql_where=text("state = 'done'")),
        CheckConstraint("state IN ('queued', 'running', 'done', 'dead')", name="state"),
        {"comment": "Background work; a row is written in the transaction that made it necessary"},
    )

    kind: Mapped[str] = mapped_column(Text, comment="A name in app/worker/tasks.py")
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB, comment="Ids only, never content")
    state: Mapped[str] = mapped_column(Text, default="queued", server_default="queued")
    priority: Mapped[int] = mapped_column(Integer, default=100, server_default=text("100"), comment="Small goes first")
    attempts: Mapped[int] = mapped_column(
        Integer,
        default=0,
        server_default=text("0"),
        comment="Counted when a worker takes the job, before the work",
    )
    max_attempts: Mapped[int] = mapped_column(Integer, default=5, server_default=text("5"))
    run_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    locked_by: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), comment="By the database's clock")
    lease_token: Mapped[UUID | None] = mapped_column(comment="Fences a worker that lost its lease")
    dedupe_key: Mapped[str | None] = mapped_column(Text, comment="At most one live job for each")
    error_code: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
