from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Integer, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId, HasTenant

STATUSES = ("queued", "reading", "chunking", "embedding", "ready", "failed")


class Document(HasId, HasTenant, HasCreatedAt, Base):
    __tablename__ = "documents"
    __table_args__ = (
        Index(
            "uq_documents_same_bytes",
            "tenant_id",
            "owner_id",
            "collection",
            "sha256",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("external_id IS NULL"),
        ),
        Index(
            "uq_documents_external_id",
            "tenant_id",
            "owner_id",
            "collection",
            "external_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("external_id IS NOT NULL"),
        ),
        Index(
            "ix_documents_searched",
            "id",
            postgresql_include=["tenant_id", "owner_id", "indexed_version", "collection"],
        ),
        Index("ix_documents_storage_key", "storage_key"),
        Index("ix_documents_newest", "tenant_id", text("created_at DESC"), text("id DESC")),
        CheckConstraint("status IN ('queued', 'reading', 'chunking', 'embedding', 'ready', 'failed')", name="status"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256_length"),
        {"comment": "Uploaded documents and how far their indexing is"},
    )

    owner_id: Mapped[str | None] = mapped_column(Text, comment="Null: for everybody in the tenant")
    title: Mapped[str] = mapped_column(Text)
    filename: Mapped[str] = mapped_column(Text, comment="For display and download; never a path on our side")
    kind: Mapped[str] = mapped_column(Text, comment="A name in app/readers, judged by content")
    sha256: Mapped[bytes] = mapped_column(LargeBinary, comment="Of the current version's bytes")
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    storage_key: Mapped[str] = mapped_column(Text, comment="Made by the service")
    external_id: Mapped[str | None] = mapped_column(Text, comment="The client's id; other bytes make a new version")
    collection: Mapped[str | None] = mapped_column(Text)
    lang: Mapped[str | None] = mapped_column(Text, comment="Said by the client; else judged by script, chunk by chunk")
    metadata_: Mapped[dict[str, Any]] = mapped_column(
        "metadata", JSONB, default=dict, server_default=text("'{}'::jsonb")
    )
    version: Mapped[int] = mapped_column(Integer, default=1, server_default=text("1"), comment="Of the bytes")
    indexed_version: Mapped[int | None] = mapped_column(
        Integer, comment="The version that search sees; switched in one UPDATE"
    )
    status: Mapped[str] = mapped_column(Text, default="queued", server_default="queued")
    progress_done: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    progress_total: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    error_code: Mapped[str | None] = mapped_column(Text, comment="Stable word, see docs/errors.md")
    error_detail: Mapped[str | None] = mapped_column(Text)
    page_count: Mapped[int | None] = mapped_column(Integer)
    chunk_count: Mapped[int | None] = mapped_column(Integer, comment="Of the indexed version")
    term_count: Mapped[int | None] = mapped_column(BigInteger, comment="Words of the indexed version, for BM25")
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    indexed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class DocumentVersion(HasTenant, HasCreatedAt, Base):
    __tablename__ = "document_versions"
    __table_args__ = (
        Index("ix_document_versions_tenant_id", "tenant_id"),
        Index("ix_document_versions_storage_key", "storage_key"),
        {"comment": "Superseded versions, kept while an answer cites them"},
    )

    document_id: Mapped[UUID] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    filename: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    storage_key: Mapped[str] = mapped_column(Text, comment="Several versions may share one file")
