from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, TextClause, delete, func, select, text

from app.models import Chunk, ChunkEmbedding, Document
from app.repositories import halfvec, search_scope, search_sql
from app.repositories.base import Repository
from app.repositories.hnsw import index_name
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


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """One question to the index. `embedding` None leaves the vector leg out, `by_text` False the lexical one."""

    question: str
    """In the form that `search_form` makes of passages, too."""
    config: str
    """Text-search configuration of the question's language."""
    space_id: int
    width: int
    fetched: int
    embedding: npt.ArrayLike | None = None
    by_text: bool = True
    context: str = ""
    """What the question refers to, in the same form: these words weigh less."""
    document_ids: list[UUID] | None = None
    collection: str | None = None
    lang: str | None = None

    def shape(self, filters: frozenset[str], *, exact: bool) -> search_sql.Shape:
        """Of few kinds, so that the statements are few. Where both legs are joined, each goes deeper."""
        by_vector = self.embedding is not None
        depth = self.fetched * 2 if by_vector and self.by_text else self.fetched
        leg_limit = search_sql.LEG_STEP * -(-depth // search_sql.LEG_STEP)
        return search_sql.Shape(self.space_id, self.width, by_vector, self.by_text, exact, leg_limit, filters)

    @property
    def vector(self) -> bytes:
        """The embedding, which there must be, as a parameter."""
        return halfvec.encoded(np.asarray(self.embedding))

    @property
    def ef_search(self) -> int:
        return min(search_sql.EF_SEARCH_PER_HIT * self.fetched, search_sql.MOST_EF_SEARCH)


def _enough(rows: list[dict[str, Any]], query: SearchQuery) -> bool:
    """As many hits as were asked for, and as many that are near: words alone could fill the list."""
    return len(rows) >= query.fetched and rows[0]["near"] >= query.fetched


class ChunkRepository(Repository):
    async def search(self, query: SearchQuery, *, exact_limit: int) -> tuple[list[dict[str, Any]], bool]:
        """(hits, best first; whether the search was exact). Never fewer hits than exist."""
        tenant_size, scan, plan = await self._prepare(query, exact_limit)
        if query.embedding is None:
            return await self._hybrid(query, exact=True), True
        if not await self._is_small(query, tenant_size, exact_limit):
            rows = await self._hybrid(query, exact=False)
            if not _enough(rows, query) and scan == search_scope.NEAREST_ONLY:
                await self._session.execute(search_scope.FURTHER)
                rows = await self._hybrid(query, exact=False)
            if _enough(rows, query):
                return rows, False
        if plan != search_scope.AUTO:
            await self._session.execute(search_scope.OWN_PLAN)
        return await self._hybrid(query, exact=True), True

    async def _prepare(self, query: SearchQuery, exact_limit: int) -> tuple[int | None, str, str]:
        """(how many chunks the tenant has, where statistics tell; how the index is scanned, and how statements are
        planned, from now on)."""
        values = {
            "index": index_name(query.space_id),
            "whole_tenant": not self._filters(query),
            "tenant": self._caller.tenant_id,
            "ef_search": str(query.ef_search),
            "one_plan": self._is_wide(query),
            "exact_limit": exact_limit,
        }
        row = (await self._session.execute(search_scope.PREPARE, values)).one()
        return row.chunks, row.scan, row.plan

    def _is_wide(self, query: SearchQuery) -> bool:
        """One person's scope is mostly about as large as the tenant's."""
        return self._filters(query).keys() <= {"user_id"}

    async def count_of(self, document_ids: list[UUID]) -> int:
        return await self._count(select(Chunk.id).where(Chunk.document_id.in_(document_ids), self._mine(Chunk)))

    async def background(self, query: SearchQuery) -> tuple[int, float]:
        """(how many passages the tenant has, their mean cosine to the question). The query has an embedding."""
        statement = search_sql.background_statement(query.space_id, query.width)
        values = {"tenant": self._caller.tenant_id, "embedding": query.vector}
        [found] = await self._fetch(statement, values)
        return found["chunks"], found["cosine"]

    async def _is_small(self, query: SearchQuery, tenant_size: int | None, limit: int) -> bool:
        """Whether the scope has `limit` chunks at the most."""
        filters = self._filters(query)
        if self._is_wide(query) and tenant_size is not None and (tenant_size <= limit or not filters):
            return tenant_size <= limit
        statement = search_scope.scope_statement(frozenset(filters), limit + 1)
        values = {"tenant": self._caller.tenant_id, **filters}
        [found] = await self._fetch(statement, values)
        return bool(found["chunks"] <= limit)

    async def _hybrid(self, query: SearchQuery, *, exact: bool) -> list[dict[str, Any]]:
        statement, values = self.statement(query, exact=exact)
        return await self._fetch(statement, values)

    def statement(self, query: SearchQuery, *, exact: bool) -> tuple[TextClause, dict[str, Any]]:
        """The statement of this question, and its parameters."""
        filters = self._filters(query)
        values = {"tenant": self._caller.tenant_id, "fetched": query.fetched, **filters}
        if query.embedding is not None:
            values["embedding"] = query.vector
        if query.by_text:
            values |= {"question": query.question, "context": query.context, "config": query.config}
        return search_sql.hybrid_statement(query.shape(frozenset(filters), exact=exact)), values

    def _filters(self, query: SearchQuery) -> dict[str, Any]:
        """Those that narrow the scope."""
        given = {
            "user_id": self._caller.user_id,
            "document_ids": query.document_ids,
            "collection": query.collection,
            "lang": query.lang,
        }
        return {name: value for name, value in given.items() if value is not None}

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
