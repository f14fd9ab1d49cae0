"""spaces that are complete

Revision ID: 0019

A space that has been filled stays complete: new documents are embedded for it before they are seen. A switch to it was
refused as often as a document had come in a moment before.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "embedding_spaces",
        sa.Column(
            "filled_at",
            sa.DateTime(timezone=True),
            comment="Since when it has a vector of every passage that is seen; null: not yet",
        ),
    )
    op.execute("UPDATE embedding_spaces SET filled_at = activated_at")
    op.create_check_constraint("active_is_filled", "embedding_spaces", "filled_at IS NOT NULL OR NOT is_active")


def downgrade() -> None:
    op.drop_column("embedding_spaces", "filled_at")
