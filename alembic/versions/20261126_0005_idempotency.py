"""idempotency

Revision ID: 0005

Requests that came with an Idempotency-Key, and what was answered.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLE = "idempotency_keys"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("principal", sa.Text(), nullable=False, comment="Whose key it is"),
        sa.Column("route", sa.Text(), nullable=False, comment="Method and template of the address"),
        sa.Column("key", sa.Text(), nullable=False, comment="Idempotency-Key as the client sent it"),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False, comment="SHA-256 of address and canonical body"),
        sa.Column("subject_id", sa.Uuid(), comment="What was made; no foreign key: the row outlives it"),
        sa.Column("status", sa.SmallInteger(), comment="Null when the answer is read from the subject"),
        sa.Column("headers", postgresql.JSONB()),
        sa.Column("body", sa.LargeBinary(), comment="Emptied when the subject is deleted"),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now() + interval '24 hours'"),
            nullable=False,
            comment="The key is free then",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint("octet_length(body) <= 1048576", name=op.f("ck_idempotency_keys_body_size")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_idempotency_keys_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "principal", "route", "key", name=op.f("pk_idempotency_keys")),
        comment="Requests that came with an Idempotency-Key, each stored in the transaction that carried it out",
    )
    has_body = sa.text("body IS NOT NULL")
    op.create_index("ix_idempotency_keys_subject_id", TABLE, ["subject_id"], postgresql_where=has_body)
    op.create_index("ix_idempotency_keys_expires_at", TABLE, ["expires_at"])


def downgrade() -> None:
    op.drop_index("ix_idempotency_keys_expires_at", table_name=TABLE)
    op.drop_index("ix_idempotency_keys_subject_id", table_name=TABLE)
    op.drop_table(TABLE)
