"""The second wall: PostgreSQL itself shows a transaction only the rows of the tenant and user that it named.

The roles and what each of them may do are made by migration 0013; docs/tenancy.md explains them. A migration that adds
a table with a `tenant_id` protects it in one line:

    row_security.protect("invoices")
    row_security.protect("notes", own="notes.user_id = (SELECT ragchat_user())")
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from alembic import op
from app.core.errors import RagchatError, Unavailable
from app.db.connection import APPLICATION
from app.db.engine import Database, database_errors

TENANT = "(SELECT ragchat_tenant())"
USER = "(SELECT ragchat_user())"
"""Sub-selects: asked once for a statement, not for each row."""

TABLES_OF_TENANTS = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped
"""
UNPROTECTED = text(f"""
{TABLES_OF_TENANTS} AND NOT (
    c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
) ORDER BY 1
""")
LOGIN_OWNS = text("""
SELECT bool_or(pg_has_role(session_user, c.relowner, 'MEMBER')) FROM pg_class c WHERE c.oid = 'documents'::regclass
""")
CAN_PASS = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")


def protect(table: str, *, own: str | None = None, column: str = "tenant_id", changes: str = "ALL") -> None:
    """For migrations: a row is seen and written by transactions of its tenant and, with `own`, of a user of whom that
    expression is true. `changes`: what the application may do beside SELECT, e.g. `INSERT` to a log."""
    mine = f"{table}.{column} = {TENANT}"
    if own is not None:
        mine = f"{mine} AND {unless_a_user(own)}"
    enforce(table)
    grants = "SELECT, INSERT, UPDATE, DELETE" if changes == "ALL" else f"SELECT, {changes}"
    op.execute(f"GRANT {grants} ON {table} TO ragchat_app")
    op.execute(f"CREATE POLICY tenant ON {table} TO ragchat_app USING ({mine}) WITH CHECK ({mine})")


def unless_a_user(own: str) -> str:
    """True for a whole tenant, else what `own` says. Spelled so that the planner takes it for true of nearly all rows,
    as it is mostly: of an OR it expects one row in 200, and then avoids the index of vectors."""
    return f"CASE WHEN {USER} IS NULL OR {own} THEN 1 ELSE 0 END <> 0"


def enforce(table: str) -> None:
    """Forced, so that the owner of the table stands before the same wall, unless it says that this is maintenance."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY maintenance ON {table} TO CURRENT_USER "
        "USING ((SELECT ragchat_maintenance())) WITH CHECK ((SELECT ragchat_maintenance()))"
    )


def release(table: str) -> None:
    """Undoes `protect`, with every other policy of the table."""
    op.execute(f"""
    DO $$
    DECLARE found name;
    BEGIN
        FOR found IN SELECT polname FROM pg_policy WHERE polrelid = '{table}'::regclass LOOP
            EXECUTE format('DROP POLICY %I ON {table}', found);
        END LOOP;
    END
    $$
    """)  # noqa: S608  a name of our own
    op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute(f"REVOKE ALL ON {table} FROM ragchat_app, ragchat_system, ragchat_search")


async def unprotected(engine: AsyncEngine) -> Sequence[str]:
    """Tables that belong to tenants and stand before no wall."""
    with database_errors():
        async with engine.connect() as connection:
            return [*(await connection.execute(UNPROTECTED)).scalars()]


async def require_wall(engine: AsyncEngine) -> None:
    """Unavailable(row_security_off) when the application's role would see what it should not, Unavailable(
    database_role) when the login may not take that role."""
    try:
        with database_errors():
            async with engine.connect() as connection:
                passes = (await connection.execute(CAN_PASS)).scalar_one()
    except DBAPIError as exc:
        raise Unavailable("database_role", f"The login of DATABASE_URL cannot be {APPLICATION}: {exc.orig}") from exc
    if passes or await unprotected(engine):
        raise Unavailable("row_security_off", "Row-level security is not in force; `ragchat doctor` says more.")


async def wall_fix(owner: AsyncEngine, found: RagchatError) -> str:
    """What an operator can do about it."""
    if found.code == "database_role":
        return f"as the owner of the database: GRANT {APPLICATION} TO the login of DATABASE_URL"
    tables = await unprotected(owner)
    if tables:
        return f"ALTER TABLE ... ENABLE, FORCE ROW LEVEL SECURITY for {', '.join(tables)}"
    return f"ALTER ROLE {APPLICATION} NOSUPERUSER NOBYPASSRLS"


async def is_separate(database: Database) -> bool:
    """Whether the login itself could not leave the application's role for one that owns the tables."""
    with database_errors():
        async with database.app.connect() as connection:
            return not (await connection.execute(LOGIN_OWNS)).scalar_one()
