from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class ApiKey(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_tenant_id", "tenant_id"),
        Index("ix_api_keys_created_by", "created_by"),
        CheckConstraint("octet_length(key_hash) = 32", name="key_hash_is_sha256"),
        {"comment": "API keys, hashed; the key itself is shown once and stored nowhere"},
    )

    name: Mapped[str] = mapped_column(Text, comment="What the key is for; `API_KEY` is the one from the settings")
    prefix: Mapped[str] = mapped_column(Text, comment="First characters, to tell keys apart")
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True, comment="SHA-256 of the key")
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="chat, ingest, admin")
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), comment="Null: does not expire")
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), comment="Null: in force")
    last_used_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="To the minute: it is not written at every request"
    )
    created_by: Mapped[UUID | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), comment="Null: made with another key or on the command line"
    )

    @property
    def used_lately(self) -> bool:
        """Within the minute; not worth a write then."""
        return self.last_used_at is not None and self.last_used_at > datetime.now(UTC) - timedelta(minutes=1)
