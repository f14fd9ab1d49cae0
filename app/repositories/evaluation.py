"""Corpora that are evaluated, each a tenant of its own, and what a judgement needs to know of the documents found."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import delete, insert, select, text, tuple_, update

from app.models import Chunk, Document, Tenant
from app.repositories.base import Repository, like_pattern

NAMED = text(
    " UNION ".join(
        f"SELECT {name} AS name, id FROM documents "  # noqa: S608  names of our own columns
        f"WHERE tenant_id = :tenant AND indexed_version IS NOT NULL AND {name} = ANY(:names)"
        for name in ("external_id", "title", "filename")
    )
)
SET_TOTALS = text("""
UPDATE documents d SET indexed_at = now(), chunk_count = x.chunks, term_count = x.words
FROM (
    SELECT document_id, count(*) AS chunks, sum(term_count) AS words FROM chunks WHERE tenant_id = :tenant GROUP BY 1
) x
WHERE d.id = x.document_id AND d.tenant_id = :tenant
""")


class TenantRow(NamedTuple):
    id: UUID
    name: str
    created_at: datetime


class EvaluationRepository(Repository):
    async def tenants(self, prefix: str) -> list[TenantRow]:
        """Those whose name begins so, oldest first. Of the installation: only the command line asks."""
        starts = Tenant.name.like(like_pattern(prefix).removeprefix("%"), escape="\\")
        statement = select(Tenant.id, Tenant.name, Tenant.created_at).where(starts).order_by(Tenant.id)
        return [TenantRow(*row) for row in await self._session.execute(statement)]

    async def create_tenant(self, name: str) -> None:
        await self._session.execute(insert(Tenant).values(id=self._caller.tenant_id, name=name))

    async def rename_tenant(self, name: str) -> None:
        await self._session.execute(update(Tenant).where(Tenant.id == self._caller.tenant_id).values(name=name))

    async def delete_tenant(self) -> None:
        """With everything that belongs to it, but the files."""
        await self._session.execute(delete(Tenant).where(Tenant.id == self._caller.tenant_id))

    async def add_documents(self, rows: Sequence[dict[str, Any]]) -> None:
        """Search sees them at once, with the chunks that they have."""
        fixed = {"tenant_id": self._caller.tenant_id, "status": "ready", "indexed_version": 1, "chunk_count": 0}
        await self._session.execute(insert(Document), [row | fixed for row in rows])

    async def set_totals(self) -> None:
        """Chunks and words of the tenant's documents, all at version 1: BM25 needs their sum."""
        await self._session.execute(SET_TOTALS, {"tenant": self._caller.tenant_id})

    async def analyze(self) -> None:
        """Else the planner learns of many new rows only minutes later."""
        await self._session.execute(text("ANALYZE documents, chunks, chunk_embeddings"))

    async def count_documents(self) -> tuple[int, int]:
        """(documents, passages) that search sees."""
        statement = text("""
            SELECT count(*), coalesce(sum(chunk_count), 0) FROM documents
            WHERE tenant_id = :tenant AND indexed_version IS NOT NULL
        """)
        documents, chunks = (await self._session.execute(statement, {"tenant": self._caller.tenant_id})).one()
        return int(documents), int(chunks)

    async def named(self, names: Collection[str]) -> list[tuple[str, UUID]]:
        """(name, id) of the documents with one of these as external id, title or file name."""
        values = {"tenant": self._caller.tenant_id, "names": [*names]}
        return [(row.name, row.id) for row in await self._session.execute(NAMED, values)]

    async def labels(self, ids: Collection[UUID]) -> dict[UUID, str]:
        """External id, else file name."""
        statement = select(Document.id, Document.external_id, Document.filename).where(
            Document.id.in_(ids), self._mine(Document)
        )
        return {row.id: row.external_id or row.filename for row in await self._session.execute(statement)}

    async def passages(
        self, places: Collection[tuple[UUID, int, int]]
    ) -> dict[tuple[UUID, int, int], tuple[str, int, int]]:
        """(text, start, end) by (document, version, chunk index)."""
        key = tuple_(Chunk.document_id, Chunk.document_version, Chunk.chunk_index)
        statement = select(
            Chunk.document_id,
            Chunk.document_version,
            Chunk.chunk_index,
            Chunk.content,
            Chunk.char_start,
            Chunk.char_end,
        ).where(key.in_([*places]), self._mine(Chunk))
        found = await self._session.execute(statement)
        return {(row[0], row[1], row[2]): (row.content, row.char_start, row.char_end) for row in found}
