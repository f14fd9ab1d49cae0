"""audit log and erasures

Revision ID: 0012

The audit log is append-only for everybody, its owner included: triggers refuse every change, and the removal of rows
that are younger than a year. What is older goes through a function that runs as the owner, so that the role of the
application needs nothing but INSERT and SELECT.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STAMP = """
CREATE FUNCTION audit_log_stamp() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.at := now();
    RETURN NEW;
END $$
"""

KEEP = """
CREATE FUNCTION audit_log_keep() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at < now() - interval '365 days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""

PURGE = """
CREATE FUNCTION audit_log_purge(days integer, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    removed bigint;
BEGIN
    PERFORM set_config('app.maintenance', 'on', true);  -- row-level security stands before the owner, too
    DELETE FROM audit_log WHERE id IN (
        SELECT id FROM audit_log WHERE at < now() - make_interval(days => greatest(days, 365))
        ORDER BY at LIMIT least(most, 10000)
    );
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM set_config('app.maintenance', 'off', true);
    RETURN removed;
END $$
"""

TRIGGERS = (
    "CREATE TRIGGER audit_log_stamp BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_stamp()",
    "CREATE TRIGGER audit_log_keep BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_keep()",
    "CREATE TRIGGER audit_log_keep_all BEFORE TRUNCATE ON audit_log EXECUTE FUNCTION audit_log_keep()",
    # Also where triggers are switched off for a session, as for a replica.
    "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_keep",
    "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_keep_all",
    "ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_stamp",
)


def upgrade() -> None:
    _create_audit_log()
    for statement in (STAMP, KEEP, PURGE, *TRIGGERS):
        op.execute(statement)
    _create_erasures()


def _create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock, whatever the writer says",
        ),
        sa.Column(
            "actor", sa.Text(), nullable=False, comment="key:<id>, user:<id>, anonymous, service or command line"
        ),
        sa.Column("action", sa.Text(), nullable=False, comment="A word of app/core/audit.py"),
        sa.Column("object_type", sa.Text(), nullable=True),
        sa.Column("object_id", sa.Text(), nullable=True, comment="An id; of a user that has none of ours, a digest"),
        sa.Column("outcome", sa.Text(), server_default="ok", nullable=False),
        sa.Column("ip", postgresql.INET(), nullable=True, comment="The network only: /24 of IPv4, /48 of IPv6"),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.CheckConstraint("outcome IN ('ok', 'failed', 'refused')", name=op.f("ck_audit_log_outcome")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        comment="Who did what and when; append-only, without content. Rows younger than a year cannot be deleted",
    )
    op.create_index("ix_audit_log_tenant_id", "audit_log", ["tenant_id", "id"])
    op.create_index("ix_audit_log_at", "audit_log", ["at"])


def _create_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("user_id", sa.Text(), nullable=True, comment="Null once all of it is gone"),
        sa.Column(
            "user_digest",
            sa.LargeBinary(),
            nullable=True,
            comment="Refuses what comes late; null a day after the end",
        ),
        sa.Column("requested_by", sa.Text(), nullable=False, comment="self, admin or operator"),
        sa.Column("receipt_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the receipt's address"),
        sa.Column(
            "counts",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="What was removed so far, by kind",
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint("requested_by IN ('self', 'admin', 'operator')", name=op.f("ck_erasures_requested_by")),
        sa.CheckConstraint(
            "(user_id IS NULL) = (finished_at IS NOT NULL)", name=op.f("ck_erasures_forgotten_when_finished")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_erasures_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
        comment="Users that are being erased, and the receipts of those that were: counts, no names",
    )
    op.create_index(
        "uq_erasures_open", "erasures", ["tenant_id", "user_id"], unique=True,
        postgresql_where=sa.text("user_id IS NOT NULL"),
    )  # fmt: skip
    op.create_index(
        "ix_erasures_digest", "erasures", ["tenant_id", "user_digest"],
        postgresql_where=sa.text("user_digest IS NOT NULL"),
    )  # fmt: skip
    op.create_index("ix_erasures_receipt_hash", "erasures", ["receipt_hash"], unique=True)
    op.create_index("ix_erasures_tenant_id", "erasures", ["tenant_id", "id"])


def downgrade() -> None:
    op.drop_table("erasures")
    op.drop_table("audit_log")
    op.execute("DROP FUNCTION audit_log_purge(integer, integer)")
    op.execute("DROP FUNCTION audit_log_keep()")
    op.execute("DROP FUNCTION audit_log_stamp()")
