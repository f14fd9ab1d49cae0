"""Embedding spaces, and the HNSW index that each of them has.

`chunk_embeddings.embedding` is a halfvec of any width; an index over the cast to the space's own width, on the rows of
that space alone, lets models of different widths live side by side (pgvector's documentation, "Can I store vectors
with different dimensions in the same column?").
"""

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from app.models import EmbeddingSpace
from app.repositories.base import Repository

HNSW_M = 16
HNSW_EF_CONSTRUCTION = 128


class SpaceRepository(Repository):
    async def active(self) -> EmbeddingSpace | None:
        statement = select(EmbeddingSpace).where(EmbeddingSpace.is_active)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def ensure(self, model: str, *, dimensions: int, languages: list[str]) -> EmbeddingSpace:
        """The space of this model; active when it is the first one."""
        await self._session.execute(text("SELECT pg_advisory_xact_lock(hashtext('embedding_spaces'))"))
        found = await self._find(model)
        if found is None:
            first = await self.active() is None
            await self._session.execute(
                insert(EmbeddingSpace).values(model=model, dimensions=dimensions, languages=languages, is_active=first)
            )
            found = await self._find(model)
            if found is None:
                raise RuntimeError("the space vanished under its own lock")
        return found

    async def _find(self, model: str) -> EmbeddingSpace | None:
        statement = select(EmbeddingSpace).where(EmbeddingSpace.model == model)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def ensure_index(self, space: EmbeddingSpace) -> None:
        """Numbers only are put into the statement; DDL takes no bound parameters."""
        space_id, width = int(space.id), int(space.dimensions)
        await self._session.execute(
            text(
                f"CREATE INDEX IF NOT EXISTS ix_chunk_embeddings_hnsw_{space_id} ON chunk_embeddings "
                f"USING hnsw ((embedding::halfvec({width})) halfvec_cosine_ops) "
                f"WITH (m = {HNSW_M}, ef_construction = {HNSW_EF_CONSTRUCTION}) WHERE space_id = {space_id}"
            )
        )
