"""search of large tenants

Revision ID: 0014

PostgreSQL knows the tenant of a policy only while it runs, so it plans for one of usual size: beside a thousand small
ones it read all passages of a large one for each word, and sorted them instead of using the index of vectors. Now the
policies take no part in planning, the conditions of the statements do; and for a tenant that statistics know, and which
is therefore large, the functions leave the index of words as the only way.
"""

from collections.abc import Sequence

from alembic import op
from app.db.row_security import TENANT, USER

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

POLICIES = {"chunks": "tenant", "chunk_embeddings": "tenant", "documents": "tenant_read"}
"""Of the application's role, by table: whose rows it sees."""

NARROWING = (
    ("whose", "(d.owner_id IS NULL OR d.owner_id = whose)"),
    ("of_documents", "d.id = ANY(of_documents)"),
    ("of_collection", "d.collection = of_collection"),
    ("of_lang", "c.lang = of_lang"),
)
EITHER = "c.tenant_id = tenant AND c.terms @@ asked"
BY_WORDS = "c.tenant_id IS NOT DISTINCT FROM tenant AND c.terms @@ asked"
"""No index answers that spelling of the first condition."""


def _counting(condition: str) -> str:
    return f"RETURN (SELECT count(*) FROM (SELECT FROM chunks c WHERE {condition} LIMIT 5000) AS few);"  # noqa: S608


def _finding(condition: str, limit: int = 200) -> str:
    """A statement for each combination: PostgreSQL keeps one plan, which cannot hold `x IS NULL OR ...`."""
    branches = []
    for number in range(2 ** len(NARROWING)):
        clauses = "".join(f" AND {sql}" for place, (_, sql) in enumerate(NARROWING) if number >> place & 1)
        branches.append(
            f"WHEN {number} THEN RETURN QUERY SELECT c.id FROM chunks c "  # noqa: S608  constants
            "JOIN documents d ON d.id = c.document_id AND d.indexed_version = c.document_version "
            f"WHERE {condition}{clauses} LIMIT {limit};"
        )
    shape = " + ".join(f"({name} IS NOT NULL)::int * {2**place}" for place, (name, _) in enumerate(NARROWING))
    return f"CASE {shape} " + " ".join(branches) + " END CASE;"


COUNT = f"""
CREATE FUNCTION ragchat_count_passages(asked tsquery, large boolean) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE tenant uuid := ragchat_tenant();
BEGIN
    IF large THEN {_counting(BY_WORDS)} ELSE {_counting(EITHER)} END IF;
END
$body$
"""
FIND = f"""
CREATE FUNCTION ragchat_find_passages(
    asked tsquery, large boolean, of_documents uuid[], of_collection text, of_lang text
)
RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE ROWS 200 COST 1000
SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE tenant uuid := ragchat_tenant(); whose text := ragchat_user();
BEGIN
    IF large THEN {_finding(BY_WORDS)} ELSE {_finding(EITHER)} END IF;
END
$body$
"""
FUNCTIONS = {
    "ragchat_count_passages(tsquery, boolean)": COUNT,
    "ragchat_find_passages(tsquery, boolean, uuid[], text, text)": FIND,
}
BEFORE_COUNT = """
CREATE FUNCTION ragchat_count_passages(asked tsquery) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE tenant uuid := ragchat_tenant();
BEGIN
    RETURN (SELECT count(*) FROM (
        SELECT FROM chunks c WHERE c.tenant_id = tenant AND c.terms @@ asked LIMIT 5000
    ) AS few);
END
$body$
"""
BEFORE_FIND = f"""
CREATE FUNCTION ragchat_find_passages(asked tsquery, of_documents uuid[], of_collection text, of_lang text)
RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE ROWS 300 COST 1000
SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE tenant uuid := ragchat_tenant(); whose text := ragchat_user();
BEGIN
    {_finding(EITHER, limit=300)}
END
$body$
"""
BEFORE = {
    "ragchat_count_passages(tsquery)": BEFORE_COUNT,
    "ragchat_find_passages(tsquery, uuid[], text, text)": BEFORE_FIND,
}


def upgrade() -> None:
    _replace(BEFORE, FUNCTIONS)
    for table in POLICIES:
        _alter(table, f"CASE WHEN {table}.tenant_id = {TENANT} AND {_own(table)} THEN 1 ELSE 0 END <> 0")


def downgrade() -> None:
    _replace(FUNCTIONS, BEFORE)
    for table in POLICIES:
        _alter(table, f"{table}.tenant_id = {TENANT} AND CASE WHEN {_own(table)} THEN 1 ELSE 0 END <> 0")


def _own(table: str) -> str:
    return f"({USER} IS NULL OR {table}.owner_id IS NULL OR {table}.owner_id = {USER})"


def _alter(table: str, mine: str) -> None:
    written = "" if POLICIES[table] == "tenant_read" else f" WITH CHECK ({mine})"
    op.execute(f"ALTER POLICY {POLICIES[table]} ON {table} USING ({mine}){written}")


def _replace(old: dict[str, str], new: dict[str, str]) -> None:
    """They belong to a role that sees every passage's words; the application may call them."""
    for name in old:
        op.execute(f"DROP FUNCTION {name}")
    op.execute("GRANT CREATE ON SCHEMA public TO ragchat_search")
    for name, definition in new.items():
        op.execute(definition)
        op.execute(f"ALTER FUNCTION {name} OWNER TO ragchat_search")
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO ragchat_app")
    op.execute("REVOKE CREATE ON SCHEMA public FROM ragchat_search")
