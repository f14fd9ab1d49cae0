"""feedback

Revision ID: 0003

What people say about an answer.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("rating", sa.Text(), nullable=False, comment="up or down"),
        sa.Column("reason", sa.Text(), nullable=True, comment="A word of the client's, e.g. wrong"),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint("rating IN ('up', 'down')", name=op.f("ck_feedback_rating")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_feedback_message_id_messages"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_feedback_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_feedback")),
        comment="What people said about an answer; the last word counts",
    )
    op.create_index("ix_feedback_tenant_id", "feedback", ["tenant_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_feedback_tenant_id", table_name="feedback")
    op.drop_table("feedback")
