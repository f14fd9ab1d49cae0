from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, Integer, LargeBinary, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasTenant


class SealedMap(HasTenant, Base):
    """Which placeholder stands for which value in a conversation; only whoever has the key can read it."""

    __tablename__ = "masking_maps"
    __table_args__ = (
        Index("ix_masking_maps_tenant_id", "tenant_id"),
        {"comment": "Personal data that was masked in a conversation, encrypted"},
    )

    session_id: Mapped[UUID] = mapped_column(ForeignKey("chat_sessions.id", ondelete="CASCADE"), primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary, comment="AES-256-GCM, bound to the session")
    key_id: Mapped[str] = mapped_column(Text, comment="The name of the key that opens it")
    version: Mapped[int] = mapped_column(
        Integer, comment="Grows with each write; a writer who has seen another starts over"
    )
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
