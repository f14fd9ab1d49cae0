"""Embedding spaces, their vectors, and the HNSW index that each of them has.

`chunk_embeddings.embedding` is a halfvec of any width; an index over the cast to the space's own width, on the rows of
that space alone, lets models of different widths live side by side (pgvector's documentation, "Can I store vectors
with different dimensions in the same column?"). A space belongs to the installation, not to a tenant: what is here
sees the chunks of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from app.models import EmbeddingSpace
from app.repositories import halfvec
from app.repositories.base import Repository
from app.repositories.hnsw import INDEX_PREFIX, index_name

CHANNEL = "ragchat_spaces"
LOCK = "SELECT pg_advisory_xact_lock(hashtext('embedding_spaces'))"
SHARED_LOCK = "SELECT pg_advisory_xact_lock_shared(hashtext('embedding_spaces'))"

ADD_VECTORS = text("""
INSERT INTO chunk_embeddings (space_id, chunk_id, tenant_id, embedding)
SELECT s.id, c.id, c.tenant_id, r.embedding
FROM unnest(CAST(:ids AS uuid[]), CAST(:vectors AS halfvec[])) AS r(chunk_id, embedding)
JOIN chunks c ON c.id = r.chunk_id
JOIN embedding_spaces s ON s.id = :space AND NOT s.is_dropping
ORDER BY c.id
ON CONFLICT DO NOTHING
""")
"""A chunk that has been deleted meanwhile, or a space that is being dropped, is left out. In one order, as two
transactions that add the same rows in different orders would wait for each other."""

VISIBLE = """chunks c JOIN documents d ON d.id = c.document_id AND d.indexed_version = c.document_version"""
NO_VECTOR = "NOT EXISTS (SELECT 1 FROM chunk_embeddings e WHERE e.chunk_id = c.id AND e.space_id = :space)"

UNFILLED = text(f"""
SELECT c.id, c.heading, c.content, d.title FROM {VISIBLE}
WHERE c.id > :after AND {NO_VECTOR} ORDER BY c.id LIMIT :limit
""")  # noqa: S608  constants

MISSING = text(f"SELECT count(*) FROM {VISIBLE} WHERE {NO_VECTOR}")  # noqa: S608  constants

NEEDS_INDEXES = text("""
SELECT :least <= 0 OR EXISTS (
    SELECT FROM documents WHERE indexed_version IS NOT NULL GROUP BY tenant_id HAVING sum(chunk_count) >= :least
)
""")

INDEXED = text("SELECT EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND indisvalid)")

LIST = text(f"""
WITH visible AS MATERIALIZED (SELECT c.id FROM {VISIBLE})
SELECT s.id, s.model, s.dimensions, s.languages, s.is_active AS active, s.is_dropping AS dropping,
       s.created_at, s.activated_at,
       (SELECT count(*) FROM visible v JOIN chunk_embeddings e ON e.chunk_id = v.id AND e.space_id = s.id) AS vectors,
       (SELECT count(*) FROM visible) AS chunks,
       EXISTS (SELECT 1 FROM pg_index i WHERE i.indexrelid = to_regclass('{INDEX_PREFIX}' || s.id)
               AND i.indisvalid) AS indexed,
       last.state AS job, CASE WHEN last.state = 'dead' THEN last.error_code END AS error
FROM embedding_spaces s LEFT JOIN LATERAL (
    SELECT j.state, j.error_code FROM jobs j
    WHERE j.kind LIKE 'space.%' AND j.payload->>'space_id' = s.id::text ORDER BY j.id DESC LIMIT 1
) AS last ON true
ORDER BY s.id
""")  # noqa: S608  constants

DELETE_SOME = text("""
DELETE FROM chunk_embeddings WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM chunk_embeddings WHERE space_id = :space LIMIT :limit
))
""")


@dataclass(frozen=True, slots=True)
class SpaceState:
    """A space and how far it is filled. `chunks` are those that search sees, `vectors` how many of them have one."""

    id: int
    model: str
    dimensions: int
    languages: list[str]
    active: bool
    dropping: bool
    created_at: datetime
    activated_at: datetime | None
    vectors: int
    chunks: int
    indexed: bool
    """Its HNSW index is there and valid."""
    job: str | None
    """State of the newest job about it."""
    error: str | None
    """Code of that job's error when it is dead."""


class SpaceRepository(Repository):
    async def lock(self, *, shared: bool = False) -> None:
        """Until the transaction ends: shared by documents that become visible, exclusive for changes of spaces."""
        await self._session.execute(text(SHARED_LOCK if shared else LOCK))

    async def active(self) -> EmbeddingSpace | None:
        statement = select(EmbeddingSpace).where(EmbeddingSpace.is_active)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def get(self, space_id: int) -> EmbeddingSpace | None:
        return await self._session.get(EmbeddingSpace, space_id)

    async def find(self, model: str) -> EmbeddingSpace | None:
        statement = select(EmbeddingSpace).where(EmbeddingSpace.model == model)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def all(self) -> list[EmbeddingSpace]:
        """Those that are not being dropped, the active one first, then those that served last."""
        order = (
            EmbeddingSpace.is_active.desc(),
            EmbeddingSpace.activated_at.desc().nulls_last(),
            EmbeddingSpace.id,
        )
        statement = select(EmbeddingSpace).where(~EmbeddingSpace.is_dropping).order_by(*order)
        return [*(await self._session.execute(statement)).scalars()]

    async def states(self) -> list[SpaceState]:
        return [SpaceState(**row) for row in (await self._session.execute(LIST)).mappings()]

    async def create(self, model: str, *, dimensions: int, languages: list[str]) -> EmbeddingSpace:
        """The space of this model, made if there is none. The first of all is active at once."""
        await self.lock()
        found = await self.find(model)
        if found is not None:
            return found
        first = await self.active() is None
        values: dict[str, Any] = {
            "model": model, "dimensions": dimensions, "languages": languages, "is_active": first,
        }  # fmt: skip
        if first:
            values |= {"activated_at": func.now(), "filled_at": func.now()}
        statement = insert(EmbeddingSpace).values(**values).returning(EmbeddingSpace)
        return (await self._session.execute(statement)).scalar_one()

    async def unfilled(self, space_id: int, *, after: UUID, limit: int) -> list[dict[str, Any]]:
        """id, heading, content and title of visible chunks without a vector in the space, in the order of their ids."""
        values = {"space": space_id, "after": after, "limit": limit}
        return [dict(row) for row in (await self._session.execute(UNFILLED, values)).mappings()]

    async def missing(self, space_id: int) -> int:
        """Visible chunks, of all tenants, that the space has no vector of."""
        return int((await self._session.execute(MISSING, {"space": space_id})).scalar_one())

    async def needs_indexes(self, least: int) -> bool:
        """Whether a tenant has so many visible chunks: the caller's, or any for the system."""
        return bool((await self._session.execute(NEEDS_INDEXES, {"least": least})).scalar_one())

    async def indexed(self, space_id: int) -> bool:
        """Whether its HNSW index is there and valid."""
        return bool((await self._session.execute(INDEXED, {"name": index_name(space_id)})).scalar_one())

    async def add_vectors(self, space_id: int, ids: Sequence[UUID], vectors: npt.NDArray[np.float32]) -> None:
        """Shape (n, width). Vectors that are there already stay. What was deleted meanwhile is left out."""
        values = {"space": space_id, "ids": [*ids], "vectors": halfvec.encoded_rows(vectors)}
        await self._session.execute(ADD_VECTORS, values)

    async def activate(self, space_id: int) -> None:
        """One UPDATE: the constraint on the active one is checked when it is through."""
        await self._session.execute(
            text("""
                UPDATE embedding_spaces SET is_active = (id = :space),
                       activated_at = CASE WHEN id = :space THEN now() ELSE activated_at END,
                       filled_at = CASE WHEN id = :space THEN coalesce(filled_at, now()) ELSE filled_at END
                WHERE is_active OR id = :space
            """),
            {"space": space_id},
        )
        await self._notify()

    async def mark_filled(self, space_id: int) -> None:
        """From now on new documents are embedded for it before they are seen."""
        statement = update(EmbeddingSpace).where(EmbeddingSpace.id == space_id, EmbeddingSpace.filled_at.is_(None))
        await self._session.execute(statement.values(filled_at=func.now()))

    async def mark_dropping(self, space_id: int) -> None:
        statement = update(EmbeddingSpace).where(EmbeddingSpace.id == space_id).values(is_dropping=True)
        await self._session.execute(statement.execution_options(synchronize_session=False))
        await self._notify()

    async def _notify(self) -> None:
        await self._session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})

    async def delete_some(self, space_id: int, *, limit: int) -> int:
        """How many vectors went."""
        found = await self._session.execute(DELETE_SOME, {"space": space_id, "limit": limit})
        return int(found.rowcount)  # type: ignore[attr-defined]

    async def delete(self, space_id: int) -> None:
        await self._session.execute(text("DELETE FROM embedding_spaces WHERE id = :space"), {"space": space_id})
