"""durable turns

Revision ID: 0008

A turn belongs to the process whose token it bears. Events are kept as the text that is sent. Deltas go after a while.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "turns",
        sa.Column(
            "lease_token",
            sa.Uuid(),
            nullable=True,
            comment="The process that runs the turn; nobody else may add to it or finish it",
        ),
    )
    op.add_column(
        "turns",
        sa.Column("retry_of", sa.Uuid(), nullable=True, comment="The turn whose question this one asks again"),
    )
    op.add_column(
        "turns",
        sa.Column(
            "delta_ends",
            ARRAY(sa.Integer()),
            nullable=True,
            comment="Set once the deltas are gone: where in the answer each ended, in characters",
        ),
    )
    op.create_foreign_key(op.f("fk_turns_retry_of_turns"), "turns", "turns", ["retry_of"], ["id"], ondelete="SET NULL")
    op.create_index(
        "ix_turns_retry_of", "turns", ["retry_of"], unique=False, postgresql_where=sa.text("retry_of IS NOT NULL")
    )
    op.create_index(
        "ix_turns_with_deltas",
        "turns",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("delta_ends IS NULL"),
    )
    op.drop_constraint(op.f("fk_turn_events_tenant_id_tenants"), "turn_events", type_="foreignkey")
    op.drop_index("ix_turn_events_tenant_id", table_name="turn_events")
    op.alter_column(
        "turn_events", "data", type_=JSON(), existing_nullable=False, comment="As it is sent",
        postgresql_using="data::json",
    )  # fmt: skip


def downgrade() -> None:
    op.alter_column(
        "turn_events", "data", type_=JSONB(), existing_nullable=False, comment=None, postgresql_using="data::jsonb"
    )
    op.create_index("ix_turn_events_tenant_id", "turn_events", ["tenant_id"], unique=False)
    op.create_foreign_key(
        op.f("fk_turn_events_tenant_id_tenants"), "turn_events", "tenants", ["tenant_id"], ["id"], ondelete="CASCADE"
    )
    op.drop_index("ix_turns_with_deltas", table_name="turns", postgresql_where=sa.text("delta_ends IS NULL"))
    op.drop_index("ix_turns_retry_of", table_name="turns", postgresql_where=sa.text("retry_of IS NOT NULL"))
    op.drop_constraint(op.f("fk_turns_retry_of_turns"), "turns", type_="foreignkey")
    op.drop_column("turns", "delta_ends")
    op.drop_column("turns", "retry_of")
    op.drop_column("turns", "lease_token")
