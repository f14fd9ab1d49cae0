from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class Turn(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "turns"
    __table_args__ = (
        UniqueConstraint("session_id", "client_message_id", name="uq_turns_session_id_client_message_id"),
        Index(
            "uq_turns_one_running_per_session",
            "session_id",
            unique=True,
            postgresql_where=text("status = 'running'"),
        ),
        Index("ix_turns_lease", "lease_until", postgresql_where=text("status = 'running'")),
        Index("ix_turns_tenant_id", "tenant_id"),
        Index("ix_turns_retry_of", "retry_of", postgresql_where=text("retry_of IS NOT NULL")),
        Index("ix_turns_with_deltas", "finished_at", postgresql_where=text("delta_ends IS NULL")),
        CheckConstraint("status IN ('running', 'completed', 'cancelled', 'failed', 'interrupted')", name="status"),
        {"comment": "A question and the making of its answer; belongs to the session, not to a connection"},
    )

    session_id: Mapped[UUID] = mapped_column(ForeignKey("chat_sessions.id", ondelete="CASCADE"))
    client_message_id: Mapped[str | None] = mapped_column(Text, comment="The client's id; the same one, the same turn")
    user_message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    assistant_message_id: Mapped[UUID | None] = mapped_column(ForeignKey("messages.id", ondelete="SET NULL"))
    status: Mapped[str] = mapped_column(Text, default="running", server_default="running")
    finish_reason: Mapped[str | None] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(Text)
    request: Mapped[dict[str, Any]] = mapped_column(JSONB, comment="The options the turn was asked with; no text")
    trace: Mapped[dict[str, Any] | None] = mapped_column(JSONB, comment="Why this answer: candidates, scores, timings")
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False, server_default=text("false"))
    lease_until: Mapped[datetime] = mapped_column(
        DateTime(timezone=True),
        server_default=func.now(),
        comment="Past it, the process that ran the turn is gone",
    )
    lease_token: Mapped[UUID | None] = mapped_column(
        comment="The process that runs the turn; nobody else may add to it or finish it"
    )
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    retry_of: Mapped[UUID | None] = mapped_column(
        ForeignKey("turns.id", ondelete="SET NULL"), comment="The turn whose question this one asks again"
    )
    delta_ends: Mapped[list[int] | None] = mapped_column(
        ARRAY(Integer),
        comment="Set once the deltas are gone: where in the answer each ended, in characters",
    )


class TurnEvent(HasCreatedAt, Base):
    """No key to the tenant: the turn has one, and this is the table that is written to most."""

    __tablename__ = "turn_events"
    __table_args__ = ({"comment": "What a turn told its clients, in order; replayed to whoever resumes"},)

    tenant_id: Mapped[UUID] = mapped_column(comment="The company this row belongs to", sort_order=-2)
    turn_id: Mapped[UUID] = mapped_column(ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, comment="1, 2, 3... without gaps")
    type: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSON, comment="As it is sent")
