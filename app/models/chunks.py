from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ForeignKey, Index, Integer, LargeBinary, SmallInteger, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasId, HasTenant

OWNER_COMMENT = "The document's, written by a trigger: whose row it is must cost a search nothing"


class Chunk(HasId, HasTenant, Base):
    __tablename__ = "chunks"
    __table_args__ = (
        UniqueConstraint("document_id", "document_version", "chunk_index", name="uq_chunks_document_position"),
        # With the owner, so that counting needs nothing but the index: row-level security looks at it.
        Index("ix_chunks_tenant_id_lang", "tenant_id", "lang", postgresql_include=["owner_id"]),
        Index("ix_chunks_terms", "terms", postgresql_using="gin"),
        {"comment": "Passages of documents: what search finds"},
    )

    document_id: Mapped[UUID] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    owner_id: Mapped[str | None] = mapped_column(Text, comment=OWNER_COMMENT)
    document_version: Mapped[int] = mapped_column(Integer, comment="Visible when it is the document's indexed_version")
    chunk_index: Mapped[int] = mapped_column(Integer, comment="From 0")
    page: Mapped[int | None] = mapped_column(Integer, comment="From 1; null where the format has no pages")
    char_start: Mapped[int] = mapped_column(Integer, comment="Code points into the extracted text")
    char_end: Mapped[int] = mapped_column(Integer)
    heading: Mapped[str | None] = mapped_column(Text, comment="The nearest heading above")
    content: Mapped[str] = mapped_column(Text, comment="Exactly the extracted text from char_start to char_end")
    content_hash: Mapped[bytes] = mapped_column(LargeBinary, comment="SHA-256 of what is embedded")
    token_count: Mapped[int] = mapped_column(Integer, comment="By the embedding model's tokenizer")
    lang: Mapped[str] = mapped_column(Text)
    terms: Mapped[str] = mapped_column(
        TSVECTOR, comment="Title, heading and content under the language's configuration"
    )
    term_count: Mapped[int] = mapped_column(Integer, comment="Words in terms, counted with repetition")


class ChunkEmbedding(HasTenant, Base):
    """One HNSW index per space, made when the space is opened: see app/repositories/spaces.py."""

    __tablename__ = "chunk_embeddings"
    __table_args__ = (
        Index("ix_chunk_embeddings_chunk_id", "chunk_id"),
        Index("ix_chunk_embeddings_tenant_id", "tenant_id"),
        {"comment": "A vector per chunk and embedding space"},
    )

    space_id: Mapped[int] = mapped_column(
        SmallInteger, ForeignKey("embedding_spaces.id", ondelete="CASCADE"), primary_key=True
    )
    chunk_id: Mapped[UUID] = mapped_column(ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True)
    owner_id: Mapped[str | None] = mapped_column(Text, comment=OWNER_COMMENT)
    embedding: Mapped[list[float]] = mapped_column(HALFVEC(), comment="Unit length; width as the space says")
