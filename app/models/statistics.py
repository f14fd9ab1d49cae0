from datetime import datetime

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import BigInteger, DateTime, Double, ForeignKey, Integer, SmallInteger, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasTenant


class CorpusStatistics(HasTenant, Base):
    __tablename__ = "corpus_statistics"
    __table_args__ = ({"comment": "What search needs to know of a tenant's passages as a whole, where there are many"},)

    tenant_id = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True, sort_order=-2,
                              comment="The company this row belongs to")  # fmt: skip
    chunks: Mapped[int] = mapped_column(BigInteger, comment="How many there were")
    mean_length: Mapped[float] = mapped_column(Double, comment="Words of a passage")
    space_id: Mapped[int | None] = mapped_column(SmallInteger, comment="That the centroid belongs to")
    centroid: Mapped[list[float] | None] = mapped_column(HALFVEC(), comment="Mean of the vectors, of any length")
    refreshed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class TermStatistics(HasTenant, Base):
    __tablename__ = "term_statistics"
    __table_args__ = ({"comment": "Words that many of a tenant's passages hold; rare ones are counted when asked"},)

    tenant_id = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True, sort_order=-2,
                              comment="The company this row belongs to")  # fmt: skip
    lexeme: Mapped[str] = mapped_column(Text, primary_key=True)
    chunks: Mapped[int] = mapped_column(Integer, comment="Passages that hold it, estimated from a sample")
