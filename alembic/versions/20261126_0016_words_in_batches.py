"""words go into their index in batches

Revision ID: 0016

Adding the words of each passage to the index of words at once took as long as all else about storing it. They wait in
a list again, of at most 64 kB, which every search reads through; the end of each document empties it.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER INDEX ix_chunks_terms SET (fastupdate = on, gin_pending_list_limit = 64)")
    # Only an index's owner may; what it does can be seen by nobody.
    op.execute("""
    CREATE FUNCTION ragchat_settle_words() RETURNS bigint LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp AS $body$
        SELECT gin_clean_pending_list('public.ix_chunks_terms')
    $body$
    """)
    op.execute("REVOKE ALL ON FUNCTION ragchat_settle_words() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION ragchat_settle_words() TO ragchat_app")


def downgrade() -> None:
    op.execute("DROP FUNCTION ragchat_settle_words()")
    op.execute("ALTER INDEX ix_chunks_terms SET (fastupdate = off)")
    op.execute("ALTER INDEX ix_chunks_terms RESET (gin_pending_list_limit)")
    op.execute("SELECT gin_clean_pending_list('ix_chunks_terms')")
