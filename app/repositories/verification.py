"""What should not be there: questions about the whole installation, of every tenant."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.repositories.base import Repository

IN_WORK = "('queued', 'reading', 'chunking', 'embedding')"

REFERENCED = text("""
SELECT storage_key FROM documents WHERE storage_key = ANY(:keys)
UNION SELECT storage_key FROM document_versions WHERE storage_key = ANY(:keys)
""")

WANTED = text("""
SELECT storage_key FROM documents WHERE storage_key = ANY(:keys)
UNION SELECT storage_key FROM document_versions WHERE storage_key = ANY(:keys)
UNION SELECT payload->>'key' FROM jobs
      WHERE kind = 'file.delete' AND state IN ('queued', 'running') AND payload->>'key' = ANY(:keys)
""")

STUCK = text(f"""
SELECT d.id AS document_id, d.version, d.tenant_id, d.status FROM documents d
WHERE d.status IN {IN_WORK} AND d.id > :after AND NOT EXISTS (
    SELECT 1 FROM jobs j
    WHERE j.kind = 'document.ingest' AND j.state IN ('queued', 'running')
      AND j.payload->>'document_id' = d.id::text AND j.payload->>'version' = d.version::text
)
ORDER BY d.id LIMIT :limit
""")  # noqa: S608  constants

LEFTOVER_CHUNKS = text(f"""
SELECT c.document_id, c.document_version AS version, count(*) AS count
FROM chunks c JOIN documents d ON d.id = c.document_id
WHERE c.document_version IS DISTINCT FROM d.indexed_version AND d.status NOT IN {IN_WORK}
  AND (c.document_id, c.document_version) > (:after, :after_version)
GROUP BY c.document_id, c.document_version ORDER BY c.document_id, c.document_version LIMIT :limit
""")  # noqa: S608  constants
"""While a newer version is in work the others' chunks wait for its end, which removes them."""

WITHOUT_VECTOR = text("""
SELECT c.document_id, c.document_version AS version, count(*) AS count
FROM chunks c JOIN documents d ON d.id = c.document_id AND d.indexed_version = c.document_version
WHERE c.document_id > :after AND NOT EXISTS (
    SELECT 1 FROM chunk_embeddings e JOIN embedding_spaces s ON s.id = e.space_id AND s.is_active
    WHERE e.chunk_id = c.id
)
GROUP BY c.document_id, c.document_version ORDER BY c.document_id LIMIT :limit
""")


class VerificationRepository(Repository):
    async def referenced(self, keys: list[str]) -> set[str]:
        """Those of the storage keys that a document or a superseded version has."""
        return {*(await self._session.execute(REFERENCED, {"keys": keys})).scalars()}

    async def wanted(self, keys: list[str]) -> set[str]:
        """Those, and the ones that a job is about to delete."""
        return {*(await self._session.execute(WANTED, {"keys": keys})).scalars()}

    async def stuck(self, *, after: UUID, limit: int) -> list[dict[str, Any]]:
        """document_id, version, tenant_id and status of documents in work that nobody works at."""
        found = await self._session.execute(STUCK, {"after": after, "limit": limit})
        return [dict(row) for row in found.mappings()]

    async def leftover_chunks(self, *, after: tuple[UUID, int], limit: int) -> list[dict[str, Any]]:
        """document_id, version and count of chunks that are neither seen by search nor part of work."""
        values = {"after": after[0], "after_version": after[1], "limit": limit}
        return [dict(row) for row in (await self._session.execute(LEFTOVER_CHUNKS, values)).mappings()]

    async def without_vector(self, *, after: UUID, limit: int) -> list[dict[str, Any]]:
        """document_id, version and count of chunks that search sees, but not by meaning."""
        found = await self._session.execute(WITHOUT_VECTOR, {"after": after, "limit": limit})
        return [dict(row) for row in found.mappings()]
