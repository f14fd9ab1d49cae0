"""row security

Revision ID: 0013

The second wall: the application's own role sees the rows of the tenant, and of the user, that its transaction has
named, and nothing without them. The service itself, for all tenants, is a role that reaches few tables. Roles belong to
the whole server: they are made once, shared by its databases, and stay when this is undone.
"""

from collections.abc import Sequence

from alembic import op
from app.db.row_security import enforce, protect, release, unless_a_user

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Databases of one server may be migrated at the same time: whoever comes second finds the role, or the grant, made.
ROLES = """
DO $$
DECLARE named text;
BEGIN
    FOREACH named IN ARRAY ARRAY['ragchat_app', 'ragchat_system', 'ragchat_search'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = named) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', named);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
END
$$
"""
# Without INHERIT: what the service may do for all tenants it may do only where it says so, by SET ROLE.
MEMBERS = """
DO $$
BEGIN
    FOR attempt IN 1..10 LOOP
        BEGIN
            IF NOT pg_has_role('ragchat_app', 'ragchat_system', 'MEMBER') THEN
                GRANT ragchat_system TO ragchat_app WITH INHERIT FALSE, SET TRUE;
            END IF;
            IF NOT pg_has_role(current_user, 'ragchat_app', 'SET') THEN
                GRANT ragchat_app TO CURRENT_USER WITH SET TRUE;
            END IF;
            IF NOT pg_has_role(current_user, 'ragchat_search', 'SET') THEN
                GRANT ragchat_search TO CURRENT_USER WITH SET TRUE;
            END IF;
            RETURN;
        EXCEPTION WHEN unique_violation OR internal_error THEN  -- "tuple concurrently updated"
            PERFORM pg_sleep(0.05 * attempt);
        END;
    END LOOP;
    RAISE 'the roles of ragchat could not be granted';
END
$$
"""

SETTINGS = {
    "ragchat_tenant": ("uuid", "nullif(current_setting('app.tenant_id', true), '')::uuid"),
    "ragchat_user": ("text", "nullif(current_setting('app.user_id', true), '')"),
    "ragchat_admin": ("boolean", "current_setting('app.admin', true) = 'on'"),
    "ragchat_maintenance": ("boolean", "current_setting('app.maintenance', true) = 'on'"),
}
"""What a transaction has said of itself."""

OF_TENANTS = (
    "api_keys", "budgets", "budget_reservations", "corpus_statistics", "erasures", "idempotency_keys", "jobs",
    "term_statistics", "webhooks",
)  # fmt: skip
OF_USERS = {
    "chat_sessions": "chat_sessions.user_id = (SELECT ragchat_user())",
    # Whoever was erased is called that: an entry that comes late is written by a transaction of the user.
    "usage_records": "usage_records.user_id IN ((SELECT ragchat_user()), '(erased)')",
    "users": "users.id::text = (SELECT ragchat_user()) OR (SELECT ragchat_admin())",
    "refresh_tokens": "refresh_tokens.user_id::text = (SELECT ragchat_user()) OR (SELECT ragchat_admin())",
    "chunks": "chunks.owner_id IS NULL OR chunks.owner_id = (SELECT ragchat_user())",
    "chunk_embeddings": "chunk_embeddings.owner_id IS NULL OR chunk_embeddings.owner_id = (SELECT ragchat_user())",
}
WITHIN = {
    "messages": ("chat_sessions", "session_id"),
    "turns": ("chat_sessions", "session_id"),
    "completion_heads": ("chat_sessions", "session_id"),
    "masking_maps": ("chat_sessions", "session_id"),
    "message_sources": ("messages", "message_id"),
    "feedback": ("messages", "message_id"),
    "turn_events": ("turns", "turn_id"),
    "document_versions": ("documents", "document_id"),
}
"""Who sees what it belongs to sees it: that table's policies decide, within these. OFFSET 0 keeps the planner from
collecting everything that the user may see, for a few rows."""

OWNERS = {"chunks": ("documents", "document_id"), "chunk_embeddings": ("chunks", "chunk_id")}
"""Search looks at thousands of these: whose they are stands in the row itself."""
OWNER_COMMENT = "The document''s, written by a trigger: whose row it is must cost a search nothing"

DOCUMENTS = "documents.tenant_id = (SELECT ragchat_tenant())"
OWN = "documents.owner_id = (SELECT ragchat_user())"
READ = f"{DOCUMENTS} AND {unless_a_user(f'documents.owner_id IS NULL OR {OWN}')}"
CHANGE = f"{DOCUMENTS} AND {unless_a_user(f'{OWN} OR (documents.owner_id IS NULL AND (SELECT ragchat_admin()))')}"
# UPDATE sees what may be read: a lock on a document of everybody, for which PostgreSQL asks these, changes nothing.
DOCUMENT_POLICIES = (
    f"CREATE POLICY tenant_read ON documents FOR SELECT TO ragchat_app USING ({READ})",
    f"CREATE POLICY tenant_add ON documents FOR INSERT TO ragchat_app WITH CHECK ({CHANGE})",
    f"CREATE POLICY tenant_change ON documents FOR UPDATE TO ragchat_app USING ({READ}) WITH CHECK ({CHANGE})",
    f"CREATE POLICY tenant_remove ON documents FOR DELETE TO ragchat_app USING ({CHANGE})",
)

OF_THE_SYSTEM = (
    ("jobs", "SELECT, INSERT, UPDATE, DELETE", "ALL", "true"),
    ("tenants", "SELECT", "SELECT", "true"),
    ("users", "SELECT", "SELECT", "true"),
    ("api_keys", "SELECT", "SELECT", "true"),
    ("api_keys", "UPDATE (name), DELETE", "REMOVE", "least(revoked_at, expires_at) < now()"),
    ("refresh_tokens", "SELECT", "SELECT", "true"),
    ("refresh_tokens", "UPDATE (used_at), DELETE", "REMOVE", "expires_at < now()"),
    ("chat_sessions", "SELECT (id, tenant_id, last_activity_at)", "SELECT", "true"),
    (
        "turns",
        "SELECT (id, tenant_id, session_id, status, lease_until, delta_ends, finished_at)",
        "SELECT",
        "status = 'running' OR delta_ends IS NULL",
    ),
    ("documents", "SELECT", "SELECT", "true"),
    ("document_versions", "SELECT", "SELECT", "true"),
    ("chunks", "SELECT", "SELECT", "true"),
    ("chunk_embeddings", "SELECT, INSERT, DELETE", "ALL", "true"),
    ("idempotency_keys", "SELECT, UPDATE (key), DELETE", "REMOVE", "expires_at <= now()"),
    ("budget_reservations", "SELECT, UPDATE (user_id), DELETE", "REMOVE", "expires_at < now()"),
    (
        "budgets",
        "SELECT, UPDATE (scope), DELETE",
        "REMOVE",
        "starts_on < (now() AT TIME ZONE 'UTC')::date - 31",
    ),
    (
        "usage_records",
        "SELECT (id, created_at), UPDATE (id), DELETE",
        "REMOVE",
        "created_at < now() - interval '62 days'",
    ),
    ("erasures", "SELECT, UPDATE (user_digest), DELETE", "ALL", "finished_at IS NOT NULL"),
    ("erasures", "SELECT", "SELECT", "true"),
    ("audit_log", "INSERT", "INSERT", "true"),
)
"""For all tenants: (privileges, commands, which rows). REMOVE: found, locked and deleted, never changed."""

OF_THE_INSTALLATION = {
    "embedding_spaces": "SELECT, INSERT, UPDATE, DELETE",
    "model_prices": "SELECT, INSERT, UPDATE, DELETE",
    "alembic_version": "SELECT",
}
SEARCHED = {
    "chunks": "id, tenant_id, document_id, document_version, lang, terms",
    "documents": "id, indexed_version, owner_id, collection",
    "messages": "session_id, tenant_id, content",
    "chat_sessions": "id, user_id",
}
ANALYZED = "documents, chunks, chunk_embeddings"

COUNT = """
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
NARROWING = (
    ("whose", "(d.owner_id IS NULL OR d.owner_id = whose)"),
    ("of_documents", "d.id = ANY(of_documents)"),
    ("of_collection", "d.collection = of_collection"),
    ("of_lang", "c.lang = of_lang"),
)


def _finding() -> str:
    """A statement for each combination: PostgreSQL keeps one plan, which cannot hold `x IS NULL OR ...`."""
    branches = []
    for number in range(2 ** len(NARROWING)):
        clauses = "".join(f" AND {sql}" for place, (_, sql) in enumerate(NARROWING) if number >> place & 1)
        branches.append(
            f"WHEN {number} THEN RETURN QUERY SELECT c.id FROM chunks c "  # noqa: S608  constants
            "JOIN documents d ON d.id = c.document_id AND d.indexed_version = c.document_version "
            f"WHERE c.tenant_id = tenant AND c.terms @@ asked{clauses} LIMIT 300;"
        )
    shape = " + ".join(f"({name} IS NOT NULL)::int * {2**place}" for place, (name, _) in enumerate(NARROWING))
    return f"CASE {shape} " + " ".join(branches) + " END CASE;"


FIND = f"""
CREATE FUNCTION ragchat_find_passages(asked tsquery, of_documents uuid[], of_collection text, of_lang text)
RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE ROWS 300 COST 1000
SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE tenant uuid := ragchat_tenant(); whose text := ragchat_user();
BEGIN
    {_finding()}
END
$body$
"""
SAYING = """
CREATE FUNCTION ragchat_sessions_saying(words tsquery) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE COST 1000
SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE tenant uuid := ragchat_tenant(); whose text := ragchat_user();
BEGIN
    IF whose IS NULL THEN
        RETURN QUERY SELECT DISTINCT m.session_id FROM messages m
            WHERE m.tenant_id = tenant AND to_tsvector('simple', m.content) @@ words;
    ELSE
        RETURN QUERY SELECT DISTINCT m.session_id FROM messages m JOIN chat_sessions s ON s.id = m.session_id
            WHERE m.tenant_id = tenant AND s.user_id = whose AND to_tsvector('simple', m.content) @@ words;
    END IF;
END
$body$
"""
FUNCTIONS = {
    "ragchat_count_passages(tsquery)": COUNT,
    "ragchat_find_passages(tsquery, uuid[], text, text)": FIND,
    "ragchat_sessions_saying(tsquery)": SAYING,
}


def upgrade() -> None:
    op.execute(ROLES)
    op.execute(MEMBERS)
    op.execute("GRANT USAGE ON SCHEMA public TO ragchat_app, ragchat_system, ragchat_search")
    for name, (kind, value) in SETTINGS.items():
        op.execute(f"CREATE FUNCTION {name}() RETURNS {kind} LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT {value} $$")
    for table, (whole, key) in OWNERS.items():
        _own(table, whole, key)
    op.drop_index("ix_chunks_tenant_id_lang", table_name="chunks")
    op.create_index("ix_chunks_tenant_id_lang", "chunks", ["tenant_id", "lang"], postgresql_include=["owner_id"])
    _protect()
    _let_purge()
    _let_system()
    for table, privileges in OF_THE_INSTALLATION.items():
        op.execute(f"GRANT {privileges} ON {table} TO ragchat_app, ragchat_system")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ragchat_app, ragchat_system")
    op.execute(f"GRANT MAINTAIN ON {ANALYZED} TO ragchat_app")  # ANALYZE, where many rows came at once
    _let_search()


def _own(table: str, whole: str, key: str) -> None:
    op.execute(f"ALTER TABLE {table} ADD COLUMN owner_id text")
    op.execute(f"COMMENT ON COLUMN {table}.owner_id IS '{OWNER_COMMENT}'")
    op.execute(f"""
        UPDATE {table} SET owner_id = whole.owner_id FROM {whole} AS whole
        WHERE whole.id = {table}.{key} AND whole.owner_id IS NOT NULL
    """)  # noqa: S608  names of our own tables
    op.execute(f"""
        CREATE FUNCTION ragchat_own_{table}() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, public AS $$
        BEGIN
            NEW.owner_id := (SELECT whole.owner_id FROM {whole} AS whole WHERE whole.id = NEW.{key});
            RETURN NEW;
        END
        $$
    """)  # noqa: S608  names of our own tables
    op.execute(
        f"CREATE TRIGGER own BEFORE INSERT OR UPDATE OF owner_id, {key} ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION ragchat_own_{table}()"
    )


def _protect() -> None:
    protect("tenants", column="id")
    for table in OF_TENANTS:
        protect(table)
    for table, own in OF_USERS.items():
        protect(table, own=own)
    for table, (whole, key) in WITHIN.items():
        protect(table, own=f"EXISTS (SELECT FROM {whole} AS whole WHERE whole.id = {table}.{key} OFFSET 0)")
    enforce("documents")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON documents TO ragchat_app")
    for policy in DOCUMENT_POLICIES:
        op.execute(policy)


def _let_system() -> None:
    for number, (table, privileges, commands, rows) in enumerate(OF_THE_SYSTEM):
        op.execute(f"GRANT {privileges} ON {table} TO ragchat_system")
        to = f"ON {table} {{}} TO ragchat_system"
        if commands == "REMOVE":
            op.execute(f"CREATE POLICY system_see {to.format('FOR SELECT')} USING ({rows})")
            op.execute(f"CREATE POLICY system_lock {to.format('FOR UPDATE')} USING ({rows}) WITH CHECK (false)")
            op.execute(f"CREATE POLICY system_remove {to.format('FOR DELETE')} USING ({rows})")
        else:
            which = "WITH CHECK" if commands == "INSERT" else "USING"
            op.execute(f"CREATE POLICY system_{number} {to.format(f'FOR {commands}')} {which} ({rows})")


def _let_purge() -> None:
    """The log of what was done: added to and read, and what is old removed, by a function that runs as the owner."""
    protect("audit_log", changes="INSERT")
    op.execute("REVOKE ALL ON FUNCTION audit_log_purge(integer, integer) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION audit_log_purge(integer, integer) TO ragchat_system")


def _let_search() -> None:
    """Functions that see every row, and show ids and numbers of the transaction's own."""
    for table, columns in SEARCHED.items():
        op.execute(f"GRANT SELECT ({columns}) ON {table} TO ragchat_search")
        op.execute(f"CREATE POLICY search ON {table} FOR SELECT TO ragchat_search USING (true)")
    op.execute("GRANT CREATE ON SCHEMA public TO ragchat_search")
    for name, definition in FUNCTIONS.items():
        op.execute(definition)
        op.execute(f"ALTER FUNCTION {name} OWNER TO ragchat_search")
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO ragchat_app")
    op.execute("REVOKE CREATE ON SCHEMA public FROM ragchat_search")


def downgrade() -> None:
    for table in reversed(OWNERS):
        op.execute(f"DROP TRIGGER own ON {table}")
        op.execute(f"DROP FUNCTION ragchat_own_{table}()")
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}")
    for table in ("tenants", *OF_TENANTS, *OF_USERS, *WITHIN, "documents", "audit_log"):
        release(table)
    op.execute("GRANT EXECUTE ON FUNCTION audit_log_purge(integer, integer) TO PUBLIC")
    op.drop_index("ix_chunks_tenant_id_lang", table_name="chunks")
    op.create_index("ix_chunks_tenant_id_lang", "chunks", ["tenant_id", "lang"])
    for table in OWNERS:
        op.execute(f"ALTER TABLE {table} DROP COLUMN owner_id")
    for table in OF_THE_INSTALLATION:
        op.execute(f"REVOKE ALL ON {table} FROM ragchat_app, ragchat_system")
    for name in SETTINGS:
        op.execute(f"DROP FUNCTION {name}()")
    op.execute("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM ragchat_app, ragchat_system")
    op.execute("REVOKE USAGE ON SCHEMA public FROM ragchat_app, ragchat_system, ragchat_search")
