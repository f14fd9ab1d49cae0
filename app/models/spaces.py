from datetime import datetime

from sqlalchemy import Boolean, CheckConstraint, DateTime, Identity, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt


class EmbeddingSpace(HasCreatedAt, Base):
    __tablename__ = "embedding_spaces"
    __table_args__ = (
        # A unique index is checked row by row; this is checked after the statement, so that one UPDATE can switch.
        ExcludeConstraint(
            ("is_active", "="),
            name="ex_embedding_spaces_one_active",
            where=text("is_active"),
            using="btree",
            deferrable=True,
        ),
        CheckConstraint("filled_at IS NOT NULL OR NOT is_active", name="active_is_filled"),
        {"comment": "An embedding model, its width and the languages it knows; vectors belong to one"},
    )

    id: Mapped[int] = mapped_column(SmallInteger, Identity(), primary_key=True)
    model: Mapped[str] = mapped_column(Text, unique=True)
    dimensions: Mapped[int] = mapped_column(Integer)
    languages: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="ISO 639-1; * stands for all")
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("false"), comment="The one that search uses")
    activated_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="When search last began to use it; null: never"
    )
    filled_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True),
        comment="Since when it has a vector of every passage that is seen; null: not yet",
    )
    is_dropping: Mapped[bool] = mapped_column(
        Boolean, server_default=text("false"), comment="Nothing is added any more"
    )

    @property
    def is_complete(self) -> bool:
        """And stays so: new documents are embedded for it before they are seen."""
        return self.filled_at is not None
