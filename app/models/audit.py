from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasId


class AuditEntry(HasId, Base):
    """No foreign keys: it outlives what it names. Triggers refuse every change of a row."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_tenant_id", "tenant_id", "id"),
        Index("ix_audit_log_at", "at"),
        CheckConstraint("outcome IN ('ok', 'failed', 'refused')", name="outcome"),
        {"comment": "Who did what and when; append-only, without content. Rows younger than a year cannot be deleted"},
    )

    tenant_id: Mapped[UUID] = mapped_column(comment="The company this row belongs to", sort_order=-2)
    at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True),
        server_default=text("now()"),
        comment="By the database's clock, whatever the writer says",
    )
    actor: Mapped[str] = mapped_column(Text, comment="key:<id>, user:<id>, anonymous, service or command line")
    action: Mapped[str] = mapped_column(Text, comment="A word of app/core/audit.py")
    object_type: Mapped[str | None] = mapped_column(Text)
    object_id: Mapped[str | None] = mapped_column(Text, comment="An id; of a user that has none of ours, a digest")
    outcome: Mapped[str] = mapped_column(Text, server_default="ok")
    ip: Mapped[str | None] = mapped_column(INET, comment="The network only: /24 of IPv4, /48 of IPv6")
    request_id: Mapped[str | None] = mapped_column(Text)
