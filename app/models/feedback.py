from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasTenant


class Feedback(HasTenant, HasCreatedAt, Base):
    __tablename__ = "feedback"
    __table_args__ = (
        Index("ix_feedback_tenant_id", "tenant_id"),
        CheckConstraint("rating IN ('up', 'down')", name="rating"),
        {"comment": "What people said about an answer; the last word counts"},
    )

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    rating: Mapped[str] = mapped_column(Text, comment="up or down")
    reason: Mapped[str | None] = mapped_column(Text, comment="A word of the client's, e.g. wrong")
    comment: Mapped[str | None] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
