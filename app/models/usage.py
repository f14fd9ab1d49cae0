from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, Numeric, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class UsageRecord(HasId, HasTenant, HasCreatedAt, Base):
    """Outlives what it was spent for: a deleted session takes its ids along, not the tokens."""

    __tablename__ = "usage_records"
    __table_args__ = (
        UniqueConstraint("turn_id"),
        Index("ix_usage_records_tenant", "tenant_id", "created_at"),
        Index("ix_usage_records_user", "tenant_id", "user_id", "created_at"),
        Index("ix_usage_records_session_id", "session_id"),
        Index("ix_usage_records_message_id", "message_id"),
        CheckConstraint("input_tokens >= 0 AND output_tokens >= 0 AND cost >= 0", name="not_negative"),
        {"comment": "What language models were paid for, a row a turn; the id is that of the reservation. No text"},
    )

    user_id: Mapped[str] = mapped_column(Text, comment="The session's owner, as the calling system names its users")
    key_id: Mapped[UUID | None] = mapped_column(comment="The API key that asked. No foreign key: outlives the key")
    session_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("chat_sessions.id", ondelete="SET NULL"), comment="Null once the session was deleted"
    )
    turn_id: Mapped[UUID | None] = mapped_column(ForeignKey("turns.id", ondelete="SET NULL"))
    message_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("messages.id", ondelete="SET NULL"), comment="The answer; null when there was none"
    )
    model: Mapped[str] = mapped_column(Text)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cost: Mapped[Decimal | None] = mapped_column(
        Numeric(30, 12), comment="US dollars, by the price in force then; null when none was known"
    )
    estimated: Mapped[bool] = mapped_column(
        Boolean, server_default=text("false"), comment="The provider gave no numbers: counted from the text"
    )
