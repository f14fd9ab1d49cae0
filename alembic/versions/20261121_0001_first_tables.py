"""first tables

Revision ID: 0001

Everything that the first release stores. Tenant and owner columns stand from the start; the tenant `default` is the
one that a single company works in. Needs the extension `vector` and nothing else.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects import postgresql

from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


DEFAULT_TENANT = "00000000-0000-7000-8000-000000000001"


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.create_table(
        "embedding_spaces",
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.Column("languages", postgresql.ARRAY(sa.Text()), nullable=False, comment="ISO 639-1; * stands for all"),
        sa.Column(
            "is_active",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="The one that search uses",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embedding_spaces")),
        sa.UniqueConstraint("model", name=op.f("uq_embedding_spaces_model")),
        comment="An embedding model, its width and the languages it knows; vectors belong to one",
    )
    op.create_index(
        "uq_embedding_spaces_one_active",
        "embedding_spaces",
        ["is_active"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("name", sa.Text(), nullable=False, comment="Shown to operators"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
        comment="A company; every other row belongs to one",
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="What the key is for; `API_KEY` is the one from the settings"
        ),
        sa.Column("prefix", sa.Text(), nullable=False, comment="First characters, to tell keys apart"),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the key"),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False, comment="chat, ingest, admin"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="Null: does not expire"),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True, comment="Null: in force"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint("octet_length(key_hash) = 32", name=op.f("ck_api_keys_key_hash_is_sha256")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_api_keys_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
        comment="API keys, hashed; the key itself is shown once and stored nowhere",
    )
    op.create_index("ix_api_keys_tenant_id", "api_keys", ["tenant_id"], unique=False)
    op.create_table(
        "chat_sessions",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("user_id", sa.Text(), nullable=False, comment="The owner, as the calling system names its users"),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("is_favorite", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("scenario_id", sa.Text(), nullable=True, comment="The training scenario this session belongs to"),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="The client's own notes",
        ),
        sa.Column(
            "next_seq",
            sa.BigInteger(),
            server_default=sa.text("1"),
            nullable=False,
            comment="Number of the next message; taken under the row lock",
        ),
        sa.Column(
            "version",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="Grows with each change of the session itself; the ETag",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "last_activity_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="Last message or change",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_chat_sessions_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_sessions")),
        comment="Conversations",
    )
    op.create_index(
        "ix_chat_sessions_activity",
        "chat_sessions",
        ["tenant_id", sa.literal_column("last_activity_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_chat_sessions_favorites",
        "chat_sessions",
        ["tenant_id", sa.literal_column("last_activity_at DESC"), sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("is_favorite"),
    )
    op.create_index(
        "ix_chat_sessions_user",
        "chat_sessions",
        ["tenant_id", "user_id", sa.literal_column("last_activity_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "documents",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("owner_id", sa.Text(), nullable=True, comment="Null: for everybody in the tenant"),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False, comment="For display and download; never a path on our side"),
        sa.Column("kind", sa.Text(), nullable=False, comment="pdf, docx, doc, txt, md, html: judged by content"),
        sa.Column("sha256", sa.LargeBinary(), nullable=False, comment="Of the current version's bytes"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False, comment="Made by the service"),
        sa.Column("external_id", sa.Text(), nullable=True, comment="The client's id; other bytes make a new version"),
        sa.Column("collection", sa.Text(), nullable=True),
        sa.Column(
            "lang", sa.Text(), nullable=True, comment="Said by the client; else judged by script, chunk by chunk"
        ),
        sa.Column(
            "metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False, comment="Of the bytes"),
        sa.Column(
            "indexed_version",
            sa.Integer(),
            nullable=True,
            comment="The version that search sees; switched in one UPDATE",
        ),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("progress_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("progress_total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True, comment="Stable word, see docs/errors.md"),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("page_count", sa.Integer(), nullable=True),
        sa.Column("chunk_count", sa.Integer(), nullable=True, comment="Of the indexed version"),
        sa.Column("term_count", sa.BigInteger(), nullable=True, comment="Words of the indexed version, for BM25"),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("indexed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'reading', 'chunking', 'embedding', 'ready', 'failed')",
            name=op.f("ck_documents_status"),
        ),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("ck_documents_sha256_length")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_documents_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
        comment="Uploaded documents and how far their indexing is",
    )
    op.create_index(
        "ix_documents_newest",
        "documents",
        ["tenant_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "uq_documents_external_id",
        "documents",
        ["tenant_id", "owner_id", "collection", "external_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "uq_documents_same_bytes",
        "documents",
        ["tenant_id", "owner_id", "collection", "sha256"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("external_id IS NULL"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("kind", sa.Text(), nullable=False, comment="A name in app/worker/tasks.py"),
        sa.Column(
            "payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="Ids only, never content"
        ),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("100"), nullable=False, comment="Small goes first"),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Counted when a worker takes the job, before the work",
        ),
        sa.Column("max_attempts", sa.Integer(), server_default=sa.text("5"), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("locked_by", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True, comment="By the database's clock"),
        sa.Column("lease_token", sa.Uuid(), nullable=True, comment="Fences a worker that lost its lease"),
        sa.Column("dedupe_key", sa.Text(), nullable=True, comment="At most one live job for each"),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'dead')", name=op.f("ck_jobs_state")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_jobs_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        comment="Background work; a row is written in the transaction that made it necessary",
    )
    op.create_index(
        "ix_jobs_lease", "jobs", ["lease_until"], unique=False, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index(
        "ix_jobs_ready", "jobs", ["priority", "run_at"], unique=False, postgresql_where=sa.text("state = 'queued'")
    )
    op.create_index("ix_jobs_tenant_id", "jobs", ["tenant_id"], unique=False)
    op.create_index(
        "uq_jobs_dedupe_key",
        "jobs",
        ["dedupe_key"],
        unique=True,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "chunks",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column(
            "document_version",
            sa.Integer(),
            nullable=False,
            comment="Visible when it is the document's indexed_version",
        ),
        sa.Column("chunk_index", sa.Integer(), nullable=False, comment="From 0"),
        sa.Column("page", sa.Integer(), nullable=True, comment="From 1; null where the format has no pages"),
        sa.Column("char_start", sa.Integer(), nullable=False, comment="Code points into the extracted text"),
        sa.Column("char_end", sa.Integer(), nullable=False),
        sa.Column("heading", sa.Text(), nullable=True, comment="The nearest heading above"),
        sa.Column(
            "content", sa.Text(), nullable=False, comment="Exactly the extracted text from char_start to char_end"
        ),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of what is embedded"),
        sa.Column("token_count", sa.Integer(), nullable=False, comment="By the embedding model's tokenizer"),
        sa.Column("lang", sa.Text(), nullable=False),
        sa.Column(
            "terms",
            postgresql.TSVECTOR(),
            nullable=False,
            comment="Title, heading and content under the language's configuration",
        ),
        sa.Column("term_count", sa.Integer(), nullable=False, comment="Words in terms, counted with repetition"),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name=op.f("fk_chunks_document_id_documents"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_chunks_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint("document_id", "document_version", "chunk_index", name="uq_chunks_document_position"),
        comment="Passages of documents: what search finds",
    )
    op.create_index("ix_chunks_tenant_id", "chunks", ["tenant_id"], unique=False)
    op.create_index("ix_chunks_terms", "chunks", ["terms"], unique=False, postgresql_using="gin")
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="1, 2, 3... in the session, without gaps"),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("lang", sa.Text(), nullable=True, comment="ISO 639-1"),
        sa.Column("status", sa.Text(), server_default="completed", nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=True, comment="The turn that made this message, if one did"),
        sa.Column("llm_used", sa.Boolean(), nullable=True, comment="Whether a language model wrote it"),
        sa.Column("fallback_reason", sa.Text(), nullable=True, comment="Why a language model did not write it"),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column(
            "citations",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Checked citations: source number and character span in content",
        ),
        sa.Column(
            "context_metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="What the client sent beside it",
        ),
        sa.Column("usage", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Tokens and model"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint("sender IN ('user', 'assistant', 'system')", name=op.f("ck_messages_sender")),
        sa.CheckConstraint(
            "status IN ('completed', 'cancelled', 'failed', 'interrupted')", name=op.f("ck_messages_status")
        ),
        sa.CheckConstraint("seq > 0", name=op.f("ck_messages_seq_positive")),
        sa.ForeignKeyConstraint(
            ["session_id"], ["chat_sessions.id"], name=op.f("fk_messages_session_id_chat_sessions"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_messages_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("session_id", "seq", name="uq_messages_session_id_seq"),
        comment="Messages of a session, in the order of seq",
    )
    op.create_index("ix_messages_tenant_id", "messages", ["tenant_id"], unique=False)
    op.create_index(
        "ix_messages_words",
        "messages",
        [sa.literal_column("to_tsvector('simple', content)")],
        unique=False,
        postgresql_using="gin",
    )
    op.create_table(
        "chunk_embeddings",
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("space_id", sa.SmallInteger(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("embedding", HALFVEC(), nullable=False, comment="Unit length; width as the space says"),
        sa.ForeignKeyConstraint(
            ["chunk_id"], ["chunks.id"], name=op.f("fk_chunk_embeddings_chunk_id_chunks"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["space_id"],
            ["embedding_spaces.id"],
            name=op.f("fk_chunk_embeddings_space_id_embedding_spaces"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_chunk_embeddings_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("space_id", "chunk_id", name=op.f("pk_chunk_embeddings")),
        comment="A vector per chunk and embedding space",
    )
    op.create_index("ix_chunk_embeddings_chunk_id", "chunk_embeddings", ["chunk_id"], unique=False)
    op.create_index("ix_chunk_embeddings_tenant_id", "chunk_embeddings", ["tenant_id"], unique=False)
    op.create_table(
        "message_sources",
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False, comment="The number that citations name"),
        sa.Column(
            "document_id", sa.Uuid(), nullable=True, comment="No foreign key: the snapshot outlives the document"
        ),
        sa.Column("document_version", sa.Integer(), nullable=True),
        sa.Column("chunk_id", sa.Uuid(), nullable=True),
        sa.Column("chunk_index", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=True, comment="From 1; null where the format has no pages"),
        sa.Column("char_start", sa.Integer(), nullable=True, comment="Code points into the document's extracted text"),
        sa.Column("char_end", sa.Integer(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True, comment="Null once the document was deleted"),
        sa.Column("score", sa.Float(), nullable=False, comment="The fused score that ordering used"),
        sa.Column("lang", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_message_sources_message_id_messages"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_message_sources_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "n", name=op.f("pk_message_sources")),
        comment="The passages that were retrieved for a message, as they were then",
    )
    op.create_index("ix_message_sources_document_id", "message_sources", ["document_id"], unique=False)
    op.create_index("ix_message_sources_tenant_id", "message_sources", ["tenant_id"], unique=False)
    op.create_table(
        "turns",
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUID version 7, made by the application"),
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column(
            "client_message_id", sa.Text(), nullable=True, comment="The client's id; the same one, the same turn"
        ),
        sa.Column("user_message_id", sa.Uuid(), nullable=False),
        sa.Column("assistant_message_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column(
            "request",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The options the turn was asked with; no text",
        ),
        sa.Column(
            "trace",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Why this answer: candidates, scores, timings",
        ),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="Past it, the process that ran the turn is gone",
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'cancelled', 'failed', 'interrupted')", name=op.f("ck_turns_status")
        ),
        sa.ForeignKeyConstraint(
            ["assistant_message_id"],
            ["messages.id"],
            name=op.f("fk_turns_assistant_message_id_messages"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["chat_sessions.id"], name=op.f("fk_turns_session_id_chat_sessions"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_turns_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_message_id"], ["messages.id"], name=op.f("fk_turns_user_message_id_messages"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turns")),
        sa.UniqueConstraint("session_id", "client_message_id", name="uq_turns_session_id_client_message_id"),
        comment="A question and the making of its answer; belongs to the session, not to a connection",
    )
    op.create_index(
        "ix_turns_lease", "turns", ["lease_until"], unique=False, postgresql_where=sa.text("status = 'running'")
    )
    op.create_index("ix_turns_tenant_id", "turns", ["tenant_id"], unique=False)
    op.create_index(
        "uq_turns_one_running_per_session",
        "turns",
        ["session_id"],
        unique=True,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "turn_events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False, comment="The company this row belongs to"),
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False, comment="1, 2, 3... without gaps"),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="By the database's clock",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_turn_events_tenant_id_tenants"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["turn_id"], ["turns.id"], name=op.f("fk_turn_events_turn_id_turns"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("turn_id", "seq", name=op.f("pk_turn_events")),
        comment="What a turn told its clients, in order; replayed to whoever resumes",
    )
    op.create_index("ix_turn_events_tenant_id", "turn_events", ["tenant_id"], unique=False)
    tenant = sa.text("INSERT INTO tenants (id, name) VALUES (CAST(:id AS uuid), 'default')")
    op.execute(tenant.bindparams(id=DEFAULT_TENANT))


def downgrade() -> None:
    op.drop_index("ix_turn_events_tenant_id", table_name="turn_events")
    op.drop_table("turn_events")
    op.drop_index(
        "uq_turns_one_running_per_session", table_name="turns", postgresql_where=sa.text("status = 'running'")
    )
    op.drop_index("ix_turns_tenant_id", table_name="turns")
    op.drop_index("ix_turns_lease", table_name="turns", postgresql_where=sa.text("status = 'running'"))
    op.drop_table("turns")
    op.drop_index("ix_message_sources_tenant_id", table_name="message_sources")
    op.drop_index("ix_message_sources_document_id", table_name="message_sources")
    op.drop_table("message_sources")
    op.drop_index("ix_chunk_embeddings_tenant_id", table_name="chunk_embeddings")
    op.drop_index("ix_chunk_embeddings_chunk_id", table_name="chunk_embeddings")
    op.drop_table("chunk_embeddings")
    op.drop_index("ix_messages_words", table_name="messages", postgresql_using="gin")
    op.drop_index("ix_messages_tenant_id", table_name="messages")
    op.drop_table("messages")
    op.drop_index("ix_chunks_terms", table_name="chunks", postgresql_using="gin")
    op.drop_index("ix_chunks_tenant_id", table_name="chunks")
    op.drop_table("chunks")
    op.drop_index("uq_jobs_dedupe_key", table_name="jobs", postgresql_where=sa.text("state IN ('queued', 'running')"))
    op.drop_index("ix_jobs_tenant_id", table_name="jobs")
    op.drop_index("ix_jobs_ready", table_name="jobs", postgresql_where=sa.text("state = 'queued'"))
    op.drop_index("ix_jobs_lease", table_name="jobs", postgresql_where=sa.text("state = 'running'"))
    op.drop_table("jobs")
    op.drop_index(
        "uq_documents_same_bytes",
        table_name="documents",
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("external_id IS NULL"),
    )
    op.drop_index(
        "uq_documents_external_id",
        table_name="documents",
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.drop_index("ix_documents_newest", table_name="documents")
    op.drop_table("documents")
    op.drop_index("ix_chat_sessions_user", table_name="chat_sessions")
    op.drop_index("ix_chat_sessions_favorites", table_name="chat_sessions", postgresql_where=sa.text("is_favorite"))
    op.drop_index("ix_chat_sessions_activity", table_name="chat_sessions")
    op.drop_table("chat_sessions")
    op.drop_index("ix_api_keys_tenant_id", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("tenants")
    op.drop_index(
        "uq_embedding_spaces_one_active", table_name="embedding_spaces", postgresql_where=sa.text("is_active")
    )
    op.drop_table("embedding_spaces")
