from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pgvector import HalfVector
from sqlalchemy import bindparam, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import REGCONFIG

from app.models import Chunk, ChunkEmbedding, Document
from app.repositories import search_sql
from app.repositories.base import Repository
from app.repositories.paging import Paging

APPROXIMATE = text("""
SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true),
       set_config('hnsw.ef_search', :ef_search, true), set_config('hnsw.max_scan_tuples', '40000', true)
""")


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """One question to the index. `embedding` None leaves the vector leg out, `by_text` False the lexical one."""

    question: str
    config: str
    """Text-search configuration of the question's language."""
    space_id: int
    width: int
    top_k: int
    embedding: Sequence[float] | None = None
    by_text: bool = True
    document_ids: list[UUID] | None = None
    collection: str | None = None
    lang: str | None = None


class ChunkRepository(Repository):
    async def search(self, query: SearchQuery, *, exact_limit: int) -> tuple[list[dict[str, Any]], bool]:
        """(hits, best first; whether the search was exact). Never fewer hits than exist."""
        values = self._values(query)
        exact = True
        if query.embedding is not None:
            size = await self._session.execute(search_sql.SCOPE_SIZE, self._scope(query) | {"limit": exact_limit + 1})
            exact = size.scalar_one() <= exact_limit
        rows = await self._hybrid(query, values, exact=exact)
        if not exact and len(rows) < query.top_k:
            return await self._hybrid(query, values, exact=True), True
        return rows, exact

    async def _hybrid(self, query: SearchQuery, values: dict[str, Any], *, exact: bool) -> list[dict[str, Any]]:
        if not exact:
            await self._session.execute(APPROXIMATE, {"ef_search": str(min(2 * values["leg_limit"], 1000))})
        statement = search_sql.hybrid_statement(query.space_id, query.width, exact=exact)
        return [dict(row) for row in (await self._session.execute(statement, values)).mappings()]

    def _scope(self, query: SearchQuery) -> dict[str, Any]:
        return {
            "tenant": self._caller.tenant_id,
            "user_id": self._caller.user_id,
            "document_ids": query.document_ids,
            "collection": query.collection,
            "lang": query.lang,
        }

    def _values(self, query: SearchQuery) -> dict[str, Any]:
        vector = query.embedding if query.embedding is not None else [0.0] * query.width
        return self._scope(query) | {
            "question": query.question,
            "config": query.config,
            "embedding": HalfVector([*vector]).to_text(),
            "by_vector": query.embedding is not None,
            "by_text": query.by_text,
            "top_k": query.top_k,
            "leg_limit": max(search_sql.LEG_LIMIT, 2 * query.top_k),
            "candidates": search_sql.CANDIDATES,
            "most_terms": search_sql.MOST_TERMS,
            "k1": search_sql.K1,
            "b": search_sql.B,
            "vector_weight": search_sql.VECTOR_WEIGHT,
        }

    async def present(self, document_id: UUID, version: int, space_id: int) -> dict[int, bytes]:
        """Index and content hash of the version's chunks that are stored with their vector."""
        statement = (
            select(Chunk.chunk_index, Chunk.content_hash)
            .join(ChunkEmbedding, ChunkEmbedding.chunk_id == Chunk.id)
            .where(
                Chunk.document_id == document_id,
                Chunk.document_version == version,
                ChunkEmbedding.space_id == space_id,
                self._mine(Chunk),
            )
        )
        found = await self._session.execute(statement)
        return {row.chunk_index: row.content_hash for row in found}

    async def add(self, rows: Sequence[dict[str, Any]], space_id: int) -> None:
        """Chunks with their vectors. Each row holds the columns of Chunk, and `config`, `indexed`, `embedding`."""
        tenant = self._caller.tenant_id
        terms = func.to_tsvector(bindparam("config", type_=REGCONFIG), bindparam("indexed"))
        words = func.unnest(terms).table_valued("lexeme", "positions", "weights")
        counted = select(func.coalesce(func.sum(func.array_length(words.c.positions, 1)), 0)).scalar_subquery()
        columns = [row | {"tenant_id": tenant} for row in rows]
        statement = insert(Chunk).values(terms=terms, term_count=counted)
        await self._session.execute(statement, [{k: v for k, v in row.items() if k != "embedding"} for row in columns])
        await self._session.execute(
            insert(ChunkEmbedding),
            [
                {
                    "space_id": space_id,
                    "chunk_id": row["id"],
                    "tenant_id": tenant,
                    "embedding": row["embedding"],
                }
                for row in columns
            ],
        )

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

    async def delete_version(self, document_id: UUID, version: int) -> None:
        await self._session.execute(
            delete(Chunk).where(Chunk.document_id == document_id, Chunk.document_version == version, self._mine(Chunk))
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
