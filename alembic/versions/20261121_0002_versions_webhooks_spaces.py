"""versions, webhooks, spaces

Revision ID: 0002

Superseded versions of documents that an answer cites; receivers of webhooks; what switching the embedding model needs.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


OLD_KIND = "pdf, docx, doc, txt, md, html: judged by content"
KIND = "A name in app/readers, judged by content"


def created_at() -> "sa.Column[object]":
    return sa.Column(
        "created_at",
        sa.DateTime(timezone=True),
        server_default=sa.text("now()"),
        nullable=False,
        comment="By the database's clock",
    )


def upgrade() -> None:
    op.create_table(
        "document_versions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False, comment="Several versions may share one file"),
        created_at(),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
            name=op.f("fk_document_versions_document_id_documents"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_document_versions_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("document_id", "version", name=op.f("pk_document_versions")),
        comment="Superseded versions, kept while an answer cites them",
    )
    op.create_index("ix_document_versions_tenant_id", "document_versions", ["tenant_id"], unique=False)
    op.create_index("ix_document_versions_storage_key", "document_versions", ["storage_key"], unique=False)
    op.create_index("ix_documents_storage_key", "documents", ["storage_key"], unique=False)
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False, comment="document.ready, document.failed"),
        sa.Column("secret", sa.Text(), nullable=False, comment="whsec_...: signing needs it as it is"),
        sa.Column("last_status", sa.Integer(), nullable=True, comment="HTTP status of the last delivery"),
        sa.Column("last_error", sa.Text(), nullable=True, comment="Stable word; null when the last delivery arrived"),
        sa.Column("last_attempt_at", sa.DateTime(timezone=True), nullable=True),
        created_at(),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_webhooks_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        comment="Who is told when a document is ready or has failed",
    )
    op.create_index("ix_webhooks_tenant_id", "webhooks", ["tenant_id"], unique=False)
    op.alter_column("documents", "kind", comment=KIND, existing_comment=OLD_KIND, existing_nullable=False)
    op.create_index(
        "ix_jobs_finished", "jobs", ["finished_at"], unique=False, postgresql_where=sa.text("state = 'done'")
    )
    op.add_column(
        "embedding_spaces",
        sa.Column(
            "activated_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When search last began to use it; null: never",
        ),
    )
    op.add_column(
        "embedding_spaces",
        sa.Column(
            "is_dropping",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Nothing is added any more",
        ),
    )
    op.execute("UPDATE embedding_spaces SET activated_at = created_at WHERE is_active")
    # A unique index is checked row by row; this is checked after the statement, so that one UPDATE can switch.
    op.drop_index(
        "uq_embedding_spaces_one_active", table_name="embedding_spaces", postgresql_where=sa.text("is_active")
    )
    op.create_exclude_constraint(
        "ex_embedding_spaces_one_active",
        "embedding_spaces",
        ("is_active", "="),
        where=sa.text("is_active"),
        using="btree",
        deferrable=True,
    )


def downgrade() -> None:
    op.drop_constraint("ex_embedding_spaces_one_active", "embedding_spaces")
    op.create_index(
        "uq_embedding_spaces_one_active",
        "embedding_spaces",
        ["is_active"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.drop_column("embedding_spaces", "is_dropping")
    op.drop_column("embedding_spaces", "activated_at")
    op.alter_column("documents", "kind", comment=OLD_KIND, existing_comment=KIND, existing_nullable=False)
    op.drop_index("ix_jobs_finished", table_name="jobs", postgresql_where=sa.text("state = 'done'"))
    op.drop_index("ix_webhooks_tenant_id", table_name="webhooks")
    op.drop_table("webhooks")
    op.drop_index("ix_documents_storage_key", table_name="documents")
    op.drop_index("ix_document_versions_storage_key", table_name="document_versions")
    op.drop_index("ix_document_versions_tenant_id", table_name="document_versions")
    op.drop_table("document_versions")
