from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, text

from app.models import Chunk, ChunkEmbedding, Document
from app.repositories.base import Repository
from app.repositories.paging import Paging

ADDED = {
    "id": "uuid",
    "document_id": "uuid",
    "document_version": "integer",
    "chunk_index": "integer",
    "page": "integer",
    "char_start": "integer",
    "char_end": "integer",
    "heading": "text",
    "content": "text",
    "content_hash": "bytea",
    "token_count": "integer",
    "lang": "text",
    "config": "regconfig",
    "indexed": "text",
}
_GIVEN = [name for name in ADDED if name not in ("config", "indexed")]
ADD = text(f"""
INSERT INTO chunks (tenant_id, {", ".join(_GIVEN)}, terms, term_count)
SELECT :tenant, {", ".join(f"r.{name}" for name in _GIVEN)}, v.terms,
       (SELECT coalesce(sum(array_length(u.positions, 1)), 0) FROM unnest(v.terms) AS u)
FROM unnest({", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in ADDED.items())}) AS r({", ".join(ADDED)}),
     LATERAL (SELECT to_tsvector(r.config, r.indexed) AS terms OFFSET 0) AS v
""")  # noqa: S608  names of our own columns
"""One statement a batch; OFFSET 0 keeps the planner from computing the words of each row twice."""

COPY_VECTORS = text("""
INSERT INTO chunk_embeddings (space_id, chunk_id, tenant_id, embedding)
SELECT DISTINCT ON (fresh.id, e.space_id) e.space_id, fresh.id, fresh.tenant_id, e.embedding
FROM chunks fresh
JOIN documents d ON d.id = fresh.document_id
JOIN chunks known ON known.document_id = d.id AND known.document_version = d.indexed_version
                 AND known.content_hash = fresh.content_hash
JOIN chunk_embeddings e ON e.chunk_id = known.id
WHERE fresh.tenant_id = :tenant AND fresh.document_id = :document AND fresh.document_version = :version
  AND fresh.chunk_index BETWEEN :first AND :last AND d.indexed_version <> fresh.document_version
ON CONFLICT DO NOTHING
""")


def _no_vector(space_id: int) -> ColumnElement[bool]:
    there = select(ChunkEmbedding.chunk_id).where(
        ChunkEmbedding.chunk_id == Chunk.id, ChunkEmbedding.space_id == space_id
    )
    return ~there.exists()


class ChunkRepository(Repository):
    async def count_of(self, document_ids: list[UUID]) -> int:
        return await self._count(select(Chunk.id).where(Chunk.document_id.in_(document_ids), self._mine(Chunk)))

    async def stored_hashes(self, document_id: UUID, version: int, *, first: int, last: int) -> dict[int, bytes]:
        """Index and content hash of the version's chunks first..last that are there."""
        statement = select(Chunk.chunk_index, Chunk.content_hash).where(
            Chunk.document_id == document_id,
            Chunk.document_version == version,
            Chunk.chunk_index.between(first, last),
            self._mine(Chunk),
        )
        return {row.chunk_index: row.content_hash for row in await self._session.execute(statement)}

    async def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Chunks without vectors. Each row holds the columns of Chunk that are not computed, `config` and `indexed`.

        NotFound("gone") when the document has been deleted.
        """
        columns = {name: [row[name] for row in rows] for name in ADDED}
        await self._session.execute(ADD, columns | {"tenant": self._caller.tenant_id})

    async def settle_words(self) -> None:
        """Words that wait for the index go into it, of all tenants: every search reads through what waits."""
        await self._session.execute(text("SELECT ragchat_settle_words()"))

    async def copy_vectors(self, document_id: UUID, version: int, *, first: int, last: int) -> None:
        """Vectors of the version that search sees go to the chunks first..last that say the same, in every space."""
        values = {"tenant": self._caller.tenant_id, "document": document_id, "version": version}
        await self._session.execute(COPY_VECTORS, values | {"first": first, "last": last})

    async def without_vector(
        self, document_id: UUID, version: int, space_id: int, *, first: int, last: int
    ) -> list[dict[str, Any]]:
        """id, heading and content of the chunks first..last that the space has no vector of."""
        statement = (
            select(Chunk.id, Chunk.heading, Chunk.content)
            .where(
                Chunk.document_id == document_id,
                Chunk.document_version == version,
                Chunk.chunk_index.between(first, last),
                self._mine(Chunk),
                _no_vector(space_id),
            )
            .order_by(Chunk.chunk_index)
        )
        return [dict(row) for row in (await self._session.execute(statement)).mappings()]

    async def count_without_vector(self, document_id: UUID, version: int, space_id: int) -> int:
        statement = select(func.count()).where(
            Chunk.document_id == document_id,
            Chunk.document_version == version,
            self._mine(Chunk),
            _no_vector(space_id),
        )
        return (await self._session.execute(statement)).scalar_one()

    async def totals(self, document_id: UUID, version: int) -> tuple[int, int]:
        """(chunks, words) of a version."""
        statement = select(func.count(), func.coalesce(func.sum(Chunk.term_count), 0)).where(
            Chunk.document_id == document_id, Chunk.document_version == version, self._mine(Chunk)
        )
        chunks, words = (await self._session.execute(statement)).one()
        return chunks, words

    async def delete_other_versions(self, document_id: UUID, keep: int) -> None:
        await self._session.execute(
            delete(Chunk).where(Chunk.document_id == document_id, Chunk.document_version != keep, self._mine(Chunk))
        )

    async def delete_version(self, document_id: UUID, version: int, *, first: int = 0) -> None:
        """Its chunks from index `first` on."""
        await self._session.execute(
            delete(Chunk).where(
                Chunk.document_id == document_id,
                Chunk.document_version == version,
                Chunk.chunk_index >= first,
                self._mine(Chunk),
            )
        )

    async def list_page(self, document_id: UUID, paging: Paging) -> tuple[list[Chunk], int]:
        """The live version's chunks in order. The caller must have loaded the document as theirs."""
        statement = (
            select(Chunk)
            .join(
                Document,
                (Document.id == Chunk.document_id) & (Document.indexed_version == Chunk.document_version),
            )
            .where(Chunk.document_id == document_id, self._mine(Chunk))
        )
        total = await self._count(select(Chunk.id).where(Chunk.id.in_(statement.with_only_columns(Chunk.id))))
        statement = statement.order_by(Chunk.chunk_index).offset(paging.skip).limit(paging.limit)
        return [*(await self._session.execute(statement)).scalars()], total
