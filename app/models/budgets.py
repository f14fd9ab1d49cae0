from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Date, DateTime, ForeignKey, Index, Numeric, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant


class Budget(HasTenant, Base):
    """A row exists from the first reservation of a period on; it begins with what usage_records say."""

    __tablename__ = "budgets"
    __table_args__ = (
        Index("ix_budgets_starts_on", "starts_on"),
        CheckConstraint("scope IN ('tenant', 'user', 'key')", name="scope"),
        CheckConstraint("period IN ('day', 'month')", name="period"),
        {"comment": "What was spent within a day or a month, where there is a limit; its row lock orders reservations"},
    )

    tenant_id = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True, sort_order=-2,
                              comment="The company this row belongs to")  # fmt: skip
    scope: Mapped[str] = mapped_column(Text, primary_key=True, comment="Whose: tenant, user or key")
    scope_id: Mapped[str] = mapped_column(Text, primary_key=True, comment="The tenant's, user's or key's id")
    period: Mapped[str] = mapped_column(Text, primary_key=True, comment="day or month")
    starts_on: Mapped[date] = mapped_column(Date, primary_key=True, comment="First day, in UTC")
    used_tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    used_cost: Mapped[Decimal] = mapped_column(Numeric(30, 12), server_default=text("0"), comment="US dollars")


class BudgetReservation(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "budget_reservations"
    __table_args__ = (
        Index("ix_budget_reservations_tenant_id", "tenant_id"),
        Index("ix_budget_reservations_turn_id", "turn_id"),
        Index("ix_budget_reservations_expires_at", "expires_at"),
        {"comment": "What running turns may still spend; gone when they have settled"},
    )

    user_id: Mapped[str] = mapped_column(Text)
    key_id: Mapped[UUID | None] = mapped_column()
    turn_id: Mapped[UUID | None] = mapped_column(comment="No foreign key: a deleted turn must be settled, too")
    model: Mapped[str] = mapped_column(Text, comment="That is asked first")
    input_tokens: Mapped[int] = mapped_column(BigInteger, comment="Of the prompt, estimated")
    tokens: Mapped[int] = mapped_column(BigInteger, comment="Of prompt and answer at most")
    cost: Mapped[Decimal] = mapped_column(Numeric(30, 12), comment="At most, in US dollars; 0 when no price is known")
    expires_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), comment="Past it, the process that ran the turn is gone and nothing is held"
    )
