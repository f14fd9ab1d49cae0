"""A database of one's own with passages in it, and what can be said about its embedding spaces past our code."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.caller import DEFAULT_TENANT, tenant_caller
from app.core.ids import new_id
from app.providers.embedding import SHIPPED
from app.repositories.spaces import SpaceState
from app.runtime import Runtime
from app.schemas.documents import DocumentFields
from app.services.documents import Upload
from app.services.filling import Space
from app.worker.runner import running_worker
from tests.integration.processes import rows, spelled

CALLER = tenant_caller(DEFAULT_TENANT)
INDEX = "ix_chunk_embeddings_hnsw_"
SENTENCE = (
    "Employees of office {n} get {n} days of annual leave, and the manager of office {n} approves it in writing. "
)
NOT_FOUND_IN_THE_ACTIVE_SPACE = """
SELECT count(*) FROM chunks c JOIN documents d ON d.id = c.document_id AND d.indexed_version = c.document_version
WHERE NOT EXISTS (
    SELECT 1 FROM chunk_embeddings e JOIN embedding_spaces s ON s.id = e.space_id AND s.is_active
    WHERE e.chunk_id = c.id
)
"""
BUILDER = "datname = current_database() AND query LIKE 'SELECT pg_try_advisory_lock%ragchat_hnsw%'"
"""In pg_stat_activity: who waits for their turn to build an index."""
VALID = "SELECT indexrelid::int8 AS id, indisvalid AS valid FROM pg_index WHERE indexrelid = to_regclass($1)"


@dataclass(frozen=True)
class World:
    runtime: Runtime
    url: str

    @property
    def engine(self) -> AsyncEngine:
        return self.runtime.owner

    async def sql(self, statement: str, *values: Any) -> Any:
        """The first value."""
        found = await rows(self.url, statement, *values)
        return found[0][0] if found else None

    async def state(self, space_id: int) -> SpaceState:
        return next(state for state in await self.runtime.spaces.states() if state.id == space_id)

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 100) -> None:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.02)

    async def until_idle(self) -> None:
        """No job is queued or running."""

        async def idle() -> bool:
            return not await self.sql("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')")

        await self.until(idle)

    async def work(self) -> None:
        """A worker does everything that there is to do."""
        async with running_worker(self.runtime, concurrency=1):
            await self.until_idle()

    async def make(self, dimensions: int) -> int:
        """A complete space of the shipped model's first dimensions."""
        space = await self.runtime.spaces.create(f"{SHIPPED}@{dimensions}")
        await self.work()
        return space.id

    async def space(self, space_id: int) -> Space:
        return await self.runtime.spaces.complete(await self.runtime.spaces.named(str(space_id)))

    async def upload(self, text: str) -> UUID:
        """Accepted, not yet indexed."""
        upload = Upload(DocumentFields(), f"{new_id()}.txt", _once(text.encode()), {})
        document, _ = await self.runtime.documents.create(CALLER, upload)
        return document.id

    async def status(self, document_id: UUID) -> str:
        return (await self.runtime.documents.get(CALLER, document_id)).status

    async def found(self, question: str, **values: Any) -> list[UUID | None]:
        """The documents of the five nearest passages, by vectors alone."""
        found = await self.runtime.retrieval.retrieve(CALLER, question, top_k=5, mode="vector", **values)
        return [source.document_id for source in found.sources]


async def add_passages(runtime: Runtime, count: int, *, sentences: int = 1) -> UUID:
    """A document that is ready, with vectors in the active space that mean nothing; made without a worker."""
    document_id, ids = new_id(), [new_id() for _ in range(count)]
    texts = [SENTENCE.format(n=n) * sentences for n in range(count)]
    document = {
        "id": document_id, "title": "offices", "filename": "offices.txt", "kind": "txt", "size_bytes": 1,
        "sha256": hashlib.sha256(document_id.bytes).digest(), "storage_key": "none", "status": "ready",
        "indexed_version": 1, "chunk_count": count, "term_count": 10 * count,
    }  # fmt: skip
    chunks = [
        {
            "id": ids[n], "document_id": document_id, "document_version": 1, "chunk_index": n, "page": None,
            "char_start": 0, "char_end": 1, "heading": None, "content": texts[n], "lang": "en",
            "content_hash": bytes(32), "token_count": 20, "config": "english", "indexed": texts[n],
        }
        for n in range(count)
    ]  # fmt: skip
    async with runtime.uow(CALLER) as uow:
        await uow.documents.insert(document)
        await uow.chunks.add(chunks)
        active = await uow.spaces.active()
        assert active is not None
        vectors = np.random.default_rng(7).normal(size=(count, active.dimensions)).astype(np.float32)
        await uow.spaces.add_vectors(active.id, ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return document_id


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


@contextlib.asynccontextmanager
async def elsewhere(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of somebody else's."""
    connection = await asyncpg.connect(spelled(url, "postgresql"))
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def locked(url: str, lock: str) -> AsyncIterator[None]:
    """Somebody else holds an advisory lock, e.g. `hashtext('...')`."""
    async with elsewhere(url) as connection:
        await connection.execute(f"SELECT pg_advisory_lock({lock})")
        yield


async def slow_down(world: World, table: str, condition: str, *, seconds: float) -> None:
    """Updates of rows for which the condition holds take so long, so that others have time to overtake them."""
    await world.sql(
        f"CREATE FUNCTION slow_{table}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$"
    )
    await world.sql(
        f"CREATE TRIGGER slow BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION slow_{table}()"
    )
