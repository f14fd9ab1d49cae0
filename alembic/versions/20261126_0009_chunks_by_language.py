"""chunks by language

Revision ID: 0009

A search in one language finds its passages, and how many there are, without reading all of the tenant's.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0009"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_chunks_tenant_id_lang", "chunks", ["tenant_id", "lang"])
    op.drop_index("ix_chunks_tenant_id", table_name="chunks")


def downgrade() -> None:
    op.create_index("ix_chunks_tenant_id", "chunks", ["tenant_id"])
    op.drop_index("ix_chunks_tenant_id_lang", table_name="chunks")
