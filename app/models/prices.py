from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, DateTime, Numeric, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId


class ModelPrice(HasId, HasCreatedAt, Base):
    __tablename__ = "model_prices"
    __table_args__ = (
        UniqueConstraint("model", "valid_from"),
        CheckConstraint("input_price >= 0 AND output_price >= 0", name="not_negative"),
        CheckConstraint("currency = 'USD'", name="currency"),
        {"comment": "What models cost, as the operator says; what was paid stays what it was when a price changes"},
    )

    model: Mapped[str] = mapped_column(Text, comment="As messages name it; * stands for any characters")
    input_price: Mapped[Decimal] = mapped_column(Numeric(18, 6), comment="Of a million tokens of prompt")
    output_price: Mapped[Decimal] = mapped_column(Numeric(18, 6), comment="Of a million tokens of answer")
    currency: Mapped[str] = mapped_column(Text, default="USD", server_default=text("'USD'"))
    valid_from: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), comment="In force until a newer row of the same model"
    )
