from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class User(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "users"
    __table_args__ = (
        Index("ix_users_newest", "tenant_id", text("created_at DESC"), text("id DESC")),
        CheckConstraint("role IN ('user', 'admin')", name="role"),
        {"comment": "People who log in; their id as text is `user_id` in every other table"},
    )

    email: Mapped[str] = mapped_column(Text, unique=True, comment="Lower case, NFKC; one account an installation")
    display_name: Mapped[str | None] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text, comment="argon2id")
    role: Mapped[str] = mapped_column(Text, default="user", server_default="user")
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), comment="Null: may log in")
    last_login_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
