"""documents that are searched

Revision ID: 0018

Whose a document is and which of its versions is live is asked for each passage that a search meets: two thirds of the
time it takes to find two hundred passages by their words. An index that holds the answer takes a third of that.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index(
        "ix_documents_searched",
        "documents",
        ["id"],
        postgresql_include=["tenant_id", "owner_id", "indexed_version", "collection"],
    )


def downgrade() -> None:
    op.drop_index("ix_documents_searched", "documents")
