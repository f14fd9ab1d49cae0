"""masking

Revision ID: 0011

What was masked in a conversation, encrypted.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "masking_maps",
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False, comment="AES-256-GCM, bound to the session"),
        sa.Column("key_id", sa.Text(), nullable=False, comment="The name of the key that opens it"),
        sa.Column(
            "version",
            sa.Integer(),
            nullable=False,
            comment="Grows with each write; a writer who has seen another starts over",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["chat_sessions.id"],
            name=op.f("fk_masking_maps_session_id_chat_sessions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_masking_maps_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_masking_maps")),
        comment="Personal data that was masked in a conversation, encrypted",
    )
    op.create_index("ix_masking_maps_tenant_id", "masking_maps", ["tenant_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_masking_maps_tenant_id", table_name="masking_maps")
    op.drop_table("masking_maps")
