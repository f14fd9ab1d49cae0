"""statistics

Revision ID: 0004

Document frequencies of common words, so that no question counts them; rows of passages stay in one piece.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def tenant() -> "sa.Column[object]":
    return sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to")


def upgrade() -> None:
    op.create_table(
        "corpus_statistics",
        tenant(),
        sa.Column("chunks", sa.BigInteger(), nullable=False, comment="How many there were"),
        sa.Column("mean_length", sa.Double(), nullable=False, comment="Words of a passage"),
        sa.Column("space_id", sa.SmallInteger(), nullable=True, comment="That the centroid belongs to"),
        sa.Column("centroid", HALFVEC(), nullable=True, comment="Mean of the vectors, of any length"),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_corpus_statistics_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_corpus_statistics")),
        comment="What search needs to know of a tenant's passages as a whole, where there are many",
    )
    op.create_table(
        "term_statistics",
        tenant(),
        sa.Column("lexeme", sa.Text(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False, comment="Passages that hold it, estimated from a sample"),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_term_statistics_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "lexeme", name=op.f("pk_term_statistics")),
        comment="Words that many of a tenant's passages hold; rare ones are counted when asked",
    )
    # A passage and its words in one piece: scoring reads the words of hundreds of passages.
    op.execute("ALTER TABLE chunks SET (toast_tuple_target = 8160)")
    # New words go into the index at once: else every search reads through the list of those that wait.
    op.execute("ALTER INDEX ix_chunks_terms SET (fastupdate = off)")
    op.execute("SELECT gin_clean_pending_list('ix_chunks_terms')")


def downgrade() -> None:
    op.execute("ALTER INDEX ix_chunks_terms RESET (fastupdate)")
    op.execute("ALTER TABLE chunks RESET (toast_tuple_target)")
    op.drop_table("term_statistics")
    op.drop_table("corpus_statistics")
