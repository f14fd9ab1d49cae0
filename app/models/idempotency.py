from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, PrimaryKeyConstraint, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasTenant

MOST_BODY_BYTES = 1 << 20


class IdempotencyKey(HasTenant, HasCreatedAt, Base):
    __tablename__ = "idempotency_keys"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "principal", "route", "key"),
        Index("ix_idempotency_keys_subject_id", "subject_id", postgresql_where=text("body IS NOT NULL")),
        Index("ix_idempotency_keys_expires_at", "expires_at"),
        CheckConstraint(f"octet_length(body) <= {MOST_BODY_BYTES}", name="body_size"),
        {"comment": "Requests that came with an Idempotency-Key, each stored in the transaction that carried it out"},
    )

    principal: Mapped[str] = mapped_column(Text, comment="Whose key it is")
    route: Mapped[str] = mapped_column(Text, comment="Method and template of the address")
    key: Mapped[str] = mapped_column(Text, comment="Idempotency-Key as the client sent it")
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary, comment="SHA-256 of address and canonical body")
    subject_id: Mapped[UUID | None] = mapped_column(comment="What was made; no foreign key: the row outlives it")
    status: Mapped[int | None] = mapped_column(SmallInteger, comment="Null when the answer is read from the subject")
    headers: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None] = mapped_column(LargeBinary, comment="Emptied when the subject is deleted")
    expires_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("now() + interval '24 hours'"), comment="The key is free then"
    )
