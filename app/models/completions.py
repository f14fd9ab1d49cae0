from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasTenant


class CompletionHead(HasTenant, Base):
    """Clients of the OpenAI-compatible routes name no session: it is found again by what was said in it."""

    __tablename__ = "completion_heads"
    __table_args__ = (
        Index("ix_completion_heads_digest", "tenant_id", "digest"),
        {"comment": "Where conversations of OpenAI clients stand, to be found again when they go on"},
    )

    session_id: Mapped[UUID] = mapped_column(ForeignKey("chat_sessions.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, comment="SHA-256 of who spoke and of all that was said")
    next_seq: Mapped[int] = mapped_column(
        BigInteger, comment="That the session had then; another one now means that it has moved on"
    )
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
