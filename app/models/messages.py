from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class Message(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("session_id", "seq", name="uq_messages_session_id_seq"),
        Index("ix_messages_tenant_id", "tenant_id"),
        Index("ix_messages_words", text("to_tsvector('simple', content)"), postgresql_using="gin"),
        CheckConstraint("sender IN ('user', 'assistant', 'system')", name="sender"),
        CheckConstraint("status IN ('completed', 'cancelled', 'failed', 'interrupted')", name="status"),
        CheckConstraint("seq > 0", name="seq_positive"),
        {"comment": "Messages of a session, in the order of seq"},
    )

    session_id: Mapped[UUID] = mapped_column(ForeignKey("chat_sessions.id", ondelete="CASCADE"))
    seq: Mapped[int] = mapped_column(BigInteger, comment="1, 2, 3... in the session, without gaps")
    sender: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    lang: Mapped[str | None] = mapped_column(Text, comment="ISO 639-1")
    status: Mapped[str] = mapped_column(Text, default="completed", server_default="completed")
    turn_id: Mapped[UUID | None] = mapped_column(comment="The turn that made this message, if one did")
    llm_used: Mapped[bool | None] = mapped_column(Boolean, comment="Whether a language model wrote it")
    fallback_reason: Mapped[str | None] = mapped_column(Text, comment="Why a language model did not write it")
    finish_reason: Mapped[str | None] = mapped_column(Text)
    citations: Mapped[list[dict[str, Any]] | None] = mapped_column(
        JSONB, comment="Checked citations: source number and character span in content"
    )
    context_metadata: Mapped[dict[str, Any] | None] = mapped_column(JSONB, comment="What the client sent beside it")
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSONB, comment="Tokens and model")


class MessageSource(HasTenant, Base):
    """A snapshot: it stays what it was when the document changes."""

    __tablename__ = "message_sources"
    __table_args__ = (
        Index("ix_message_sources_document_id", "document_id"),
        Index("ix_message_sources_tenant_id", "tenant_id"),
        {"comment": "The passages that were retrieved for a message, as they were then"},
    )

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True, comment="The number that citations name")
    document_id: Mapped[UUID | None] = mapped_column(comment="No foreign key: the snapshot outlives the document")
    document_version: Mapped[int | None] = mapped_column(Integer)
    chunk_id: Mapped[UUID | None] = mapped_column()
    chunk_index: Mapped[int | None] = mapped_column(Integer)
    title: Mapped[str] = mapped_column(Text)
    page: Mapped[int | None] = mapped_column(Integer, comment="From 1; null where the format has no pages")
    char_start: Mapped[int | None] = mapped_column(Integer, comment="Code points into the document's extracted text")
    char_end: Mapped[int | None] = mapped_column(Integer)
    text: Mapped[str | None] = mapped_column(Text, comment="Null once the document was deleted")
    score: Mapped[float] = mapped_column(Float, comment="The fused score that ordering used")
    lang: Mapped[str | None] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(Text)
