from sqlalchemy import Boolean, Identity, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt


class EmbeddingSpace(HasCreatedAt, Base):
    __tablename__ = "embedding_spaces"
    __table_args__ = (
        Index("uq_embedding_spaces_one_active", "is_active", unique=True, postgresql_where=text("is_active")),
        {"comment": "An embedding model, its width and the languages it knows; vectors belong to one"},
    )

    id: Mapped[int] = mapped_column(SmallInteger, Identity(), primary_key=True)
    model: Mapped[str] = mapped_column(Text, unique=True)
    dimensions: Mapped[int] = mapped_column(Integer)
    languages: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="ISO 639-1; * stands for all")
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("false"), comment="The one that search uses")
