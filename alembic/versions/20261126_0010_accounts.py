"""accounts

Revision ID: 0010

Users with their logins, and what managing API keys needs.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    _create_users()
    _create_refresh_tokens()
    op.add_column(
        "api_keys",
        sa.Column(
            "last_used_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="To the minute: it is not written at every request",
        ),
    )
    op.add_column(
        "api_keys",
        sa.Column("created_by", sa.Uuid(), nullable=True, comment="Null: made with another key or on the command line"),
    )
    op.create_foreign_key(
        op.f("fk_api_keys_created_by_users"), "api_keys", "users", ["created_by"], ["id"], ondelete="SET NULL"
    )
    op.create_index("ix_api_keys_created_by", "api_keys", ["created_by"])


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("email", sa.Text(), nullable=False, comment="Lower case, NFKC; one account an installation"),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=False, comment="argon2id"),
        sa.Column("role", sa.Text(), server_default="user", nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True, comment="Null: may log in"),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint("role IN ('user', 'admin')", name=op.f("ck_users_role")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_users_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        comment="People who log in; their id as text is `user_id` in every other table",
    )
    op.create_index("ix_users_newest", "users", ["tenant_id", sa.text("created_at DESC"), sa.text("id DESC")])


def _create_refresh_tokens() -> None:
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "family_id", sa.Uuid(), nullable=False, comment="The login that it came from; access tokens name it, too"
        ),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the token"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "used_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Once more after this means that it was stolen: the family ends",
        ),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True, comment="Set for the whole family at once"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint("octet_length(token_hash) = 32", name=op.f("ck_refresh_tokens_token_hash_is_sha256")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_refresh_tokens_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_refresh_tokens_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refresh_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_refresh_tokens_token_hash")),
        comment="Refresh tokens, hashed; each is used once, and its use makes the next one of the family",
    )
    for column in ("tenant_id", "user_id", "family_id", "expires_at"):
        op.create_index(f"ix_refresh_tokens_{column}", "refresh_tokens", [column])


def downgrade() -> None:
    op.drop_index("ix_api_keys_created_by", table_name="api_keys")
    op.drop_constraint(op.f("fk_api_keys_created_by_users"), "api_keys", type_="foreignkey")
    op.drop_column("api_keys", "created_by")
    op.drop_column("api_keys", "last_used_at")
    op.drop_table("refresh_tokens")
    op.drop_table("users")
