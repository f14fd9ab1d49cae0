from datetime import datetime

from sqlalchemy import DateTime, Index, Integer, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class Webhook(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "webhooks"
    __table_args__ = (
        Index("ix_webhooks_tenant_id", "tenant_id"),
        {"comment": "Who is told when a document is ready or has failed"},
    )

    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="document.ready, document.failed")
    secret: Mapped[str] = mapped_column(Text, comment="whsec_...: signing needs it as it is")
    last_status: Mapped[int | None] = mapped_column(Integer, comment="HTTP status of the last delivery")
    last_error: Mapped[str | None] = mapped_column(Text, comment="Stable word; null when the last delivery arrived")
    last_attempt_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
