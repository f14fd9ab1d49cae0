from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Index, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class ChatSession(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "chat_sessions"
    __table_args__ = (
        Index("ix_chat_sessions_activity", "tenant_id", text("last_activity_at DESC"), text("id DESC")),
        Index("ix_chat_sessions_user", "tenant_id", "user_id", text("last_activity_at DESC"), text("id DESC")),
        Index(
            "ix_chat_sessions_favorites",
            "tenant_id",
            text("last_activity_at DESC"),
            text("id DESC"),
            postgresql_where=text("is_favorite"),
        ),
        {"comment": "Conversations"},
    )

    user_id: Mapped[str] = mapped_column(Text, comment="The owner, as the calling system names its users")
    title: Mapped[str | None] = mapped_column(Text)
    is_favorite: Mapped[bool] = mapped_column(Boolean, default=False, server_default=text("false"))
    scenario_id: Mapped[str | None] = mapped_column(Text, comment="The training scenario this session belongs to")
    metadata_: Mapped[dict[str, Any]] = mapped_column(
        "metadata", JSONB, default=dict, server_default=text("'{}'::jsonb"), comment="The client's own notes"
    )
    next_seq: Mapped[int] = mapped_column(
        BigInteger,
        default=1,
        server_default=text("1"),
        comment="Number of the next message; taken under the row lock",
    )
    version: Mapped[int] = mapped_column(
        Integer,
        default=1,
        server_default=text("1"),
        comment="Grows with each change of the session itself; the ETag",
    )
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_activity_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), comment="Last message or change"
    )
