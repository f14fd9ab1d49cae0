from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class Erasure(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "erasures"
    __table_args__ = (
        Index("uq_erasures_open", "tenant_id", "user_id", unique=True, postgresql_where=text("user_id IS NOT NULL")),
        Index("ix_erasures_digest", "tenant_id", "user_digest", postgresql_where=text("user_digest IS NOT NULL")),
        Index("ix_erasures_receipt_hash", "receipt_hash", unique=True),
        Index("ix_erasures_tenant_id", "tenant_id", "id"),
        CheckConstraint("requested_by IN ('self', 'admin', 'operator')", name="requested_by"),
        CheckConstraint("(user_id IS NULL) = (finished_at IS NOT NULL)", name="forgotten_when_finished"),
        {"comment": "Users that are being erased, and the receipts of those that were: counts, no names"},
    )

    user_id: Mapped[str | None] = mapped_column(Text, comment="Null once all of it is gone")
    user_digest: Mapped[bytes | None] = mapped_column(
        LargeBinary, comment="Refuses what comes late; null a day after the end"
    )
    requested_by: Mapped[str] = mapped_column(Text, comment="self, admin or operator")
    receipt_hash: Mapped[bytes] = mapped_column(LargeBinary, comment="SHA-256 of the receipt's address")
    counts: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default=text("'{}'::jsonb"), comment="What was removed so far, by kind"
    )
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
