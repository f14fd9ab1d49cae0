"""budgets

Revision ID: 0006

What language models cost, what was spent, and how much of a limit is left.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NOW = sa.text("now()")


def row_id() -> "sa.Column[object]":
    return sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application")


def tenant() -> "sa.Column[object]":
    return sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to")


def created_at() -> "sa.Column[object]":
    moment = sa.DateTime(timezone=True)
    return sa.Column("created_at", moment, server_default=NOW, nullable=False, comment="By the database's clock")


def of_tenant(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_tenant_id_tenants")
    return sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    _prices()
    _usage()
    _budgets()
    _reservations()


def _prices() -> None:
    op.create_table(
        "model_prices",
        row_id(),
        sa.Column("model", sa.Text(), nullable=False, comment="As messages name it; * stands for any characters"),
        sa.Column("input_price", sa.Numeric(18, 6), nullable=False, comment="Of a million tokens of prompt"),
        sa.Column("output_price", sa.Numeric(18, 6), nullable=False, comment="Of a million tokens of answer"),
        sa.Column("currency", sa.Text(), server_default=sa.text("'USD'"), nullable=False),
        sa.Column(
            "valid_from", sa.DateTime(timezone=True), server_default=NOW, nullable=False,
            comment="In force until a newer row of the same model",
        ),
        created_at(),
        sa.CheckConstraint("input_price >= 0 AND output_price >= 0", name=op.f("ck_model_prices_not_negative")),
        sa.CheckConstraint("currency = 'USD'", name=op.f("ck_model_prices_currency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_prices")),
        sa.UniqueConstraint("model", "valid_from", name=op.f("uq_model_prices_model_valid_from")),
        comment="What models cost, as the operator says; what was paid stays what it was when a price changes",
    )  # fmt: skip


def _usage() -> None:
    op.create_table(
        "usage_records",
        row_id(),
        tenant(),
        sa.Column(
            "user_id", sa.Text(), nullable=False, comment="The session's owner, as the calling system names its users"
        ),
        sa.Column(
            "key_id", sa.Uuid(), nullable=True, comment="The API key that asked. No foreign key: outlives the key"
        ),
        sa.Column("session_id", sa.Uuid(), nullable=True, comment="Null once the session was deleted"),
        sa.Column("turn_id", sa.Uuid(), nullable=True),
        sa.Column("message_id", sa.Uuid(), nullable=True, comment="The answer; null when there was none"),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column(
            "cost", sa.Numeric(30, 12), nullable=True,
            comment="US dollars, by the price in force then; null when none was known",
        ),
        sa.Column(
            "estimated", sa.Boolean(), server_default=sa.text("false"), nullable=False,
            comment="The provider gave no numbers: counted from the text",
        ),
        created_at(),
        sa.CheckConstraint(
            "input_tokens >= 0 AND output_tokens >= 0 AND cost >= 0", name=op.f("ck_usage_records_not_negative")
        ),
        of_tenant("usage_records"),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_usage_records_{column}_{table}"), ondelete="SET NULL"
            )
            for column, table in (("session_id", "chat_sessions"), ("turn_id", "turns"), ("message_id", "messages"))
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_records")),
        sa.UniqueConstraint("turn_id", name=op.f("uq_usage_records_turn_id")),
        comment="What language models were paid for, a row a turn; the id is that of the reservation. No text",
    )  # fmt: skip
    op.create_index("ix_usage_records_tenant", "usage_records", ["tenant_id", "created_at"])
    op.create_index("ix_usage_records_user", "usage_records", ["tenant_id", "user_id", "created_at"])
    op.create_index("ix_usage_records_session_id", "usage_records", ["session_id"])
    op.create_index("ix_usage_records_message_id", "usage_records", ["message_id"])


def _budgets() -> None:
    op.create_table(
        "budgets",
        tenant(),
        sa.Column("scope", sa.Text(), nullable=False, comment="Whose: tenant, user or key"),
        sa.Column("scope_id", sa.Text(), nullable=False, comment="The tenant's, user's or key's id"),
        sa.Column("period", sa.Text(), nullable=False, comment="day or month"),
        sa.Column("starts_on", sa.Date(), nullable=False, comment="First day, in UTC"),
        sa.Column("used_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "used_cost", sa.Numeric(30, 12), server_default=sa.text("0"), nullable=False, comment="US dollars"
        ),
        sa.CheckConstraint("scope IN ('tenant', 'user', 'key')", name=op.f("ck_budgets_scope")),
        sa.CheckConstraint("period IN ('day', 'month')", name=op.f("ck_budgets_period")),
        of_tenant("budgets"),
        sa.PrimaryKeyConstraint("tenant_id", "scope", "scope_id", "period", "starts_on", name=op.f("pk_budgets")),
        comment="What was spent within a day or a month, where there is a limit; its row lock orders reservations",
    )  # fmt: skip
    op.create_index("ix_budgets_starts_on", "budgets", ["starts_on"])


def _reservations() -> None:
    op.create_table(
        "budget_reservations",
        row_id(),
        tenant(),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column(
            "turn_id", sa.Uuid(), nullable=True, comment="No foreign key: a deleted turn must be settled, too"
        ),
        sa.Column("model", sa.Text(), nullable=False, comment="That is asked first"),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False, comment="Of the prompt, estimated"),
        sa.Column("tokens", sa.BigInteger(), nullable=False, comment="Of prompt and answer at most"),
        sa.Column(
            "cost", sa.Numeric(30, 12), nullable=False,
            comment="At most, in US dollars; 0 when no price is known",
        ),
        sa.Column(
            "expires_at", sa.DateTime(timezone=True), nullable=False,
            comment="Past it, the process that ran the turn is gone and nothing is held",
        ),
        created_at(),
        of_tenant("budget_reservations"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_reservations")),
        comment="What running turns may still spend; gone when they have settled",
    )  # fmt: skip
    op.create_index("ix_budget_reservations_tenant_id", "budget_reservations", ["tenant_id"])
    op.create_index("ix_budget_reservations_turn_id", "budget_reservations", ["turn_id"])
    op.create_index("ix_budget_reservations_expires_at", "budget_reservations", ["expires_at"])


def downgrade() -> None:
    for table in ("budget_reservations", "budgets", "usage_records", "model_prices"):
        op.drop_table(table)
