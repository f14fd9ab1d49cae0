"""completions

Revision ID: 0007

Conversations of OpenAI clients are found again by what was said.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "completion_heads",
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="SHA-256 of who spoke and of all that was said"),
        sa.Column(
            "next_seq",
            sa.BigInteger(),
            nullable=False,
            comment="That the session had then; another one now means that it has moved on",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["chat_sessions.id"],
            name=op.f("fk_completion_heads_session_id_chat_sessions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_completion_heads_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_completion_heads")),
        comment="Where conversations of OpenAI clients stand, to be found again when they go on",
    )
    op.create_index("ix_completion_heads_digest", "completion_heads", ["tenant_id", "digest"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_completion_heads_digest", table_name="completion_heads")
    op.drop_table("completion_heads")
