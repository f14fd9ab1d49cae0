"""One attempt at one version of a document: read, cut, store, embed, switch."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from app.core.background import run_together
from app.core.caller import Caller
from app.core.errors import RagchatError
from app.core.ids import new_id
from app.core.logging import get_logger
from app.db.uow import UnitOfWork, UowFactory
from app.models import Document as DocumentRow
from app.models import EmbeddingSpace
from app.providers.ports import Storage, Vectors
from app.rag.chunking import Chunk, Splitter
from app.rag.indexed_text import embedded_text
from app.readers.errors import UnreadableDocument
from app.readers.isolated import End, NewPage, Part, Text, stream_isolated
from app.readers.limits import Limits
from app.services.backlog import WINDOW, Backlog
from app.services.cutting import chunk_columns, make_splitter
from app.services.documents import prune_later
from app.services.filling import Space
from app.services.leases import Lease, LeaseLost
from app.services.spaces import SpaceService, enqueue_fill
from app.services.statistics import refresh_later
from app.services.webhooks import announce

STORED_AT_ONCE = WINDOW
"""Nobody embeds less before the end."""
EMBEDDING_TASKS = 2
"""One window is embedded while the other is read or written."""
log = get_logger(__name__)


class CutDifferently(RagchatError):
    """What an earlier run has stored is not what this program makes of the file."""


@dataclass(frozen=True, slots=True)
class Work:
    """One version of one document, under one lease."""

    caller: Caller
    document_id: UUID
    version: int
    lease: Lease


@dataclass(frozen=True, slots=True)
class Parts:
    uow: UowFactory
    storage: Storage
    spaces: SpaceService
    limits: Limits


class IndexingRun:
    """One attempt at one version. `spaces`: those that it is embedded for, the one in use first. `not_loaded`: those
    that somebody else must embed it for."""

    def __init__(
        self,
        parts: Parts,
        work: Work,
        row: DocumentRow,
        *,
        stored_before: int,
        spaces: list[Space],
        not_loaded: set[int],
    ) -> None:
        self._parts = parts
        self._work = work
        self._row = row
        self._stored_before = stored_before
        self._spaces = spaces
        self._not_loaded = not_loaded
        self._backlog = Backlog()

    async def to_the_end(self) -> None:
        whole = self._row.status == "embedding" and 0 < self._stored_before == self._row.progress_total
        if whole:  # an earlier run has stored every chunk
            await self._step({"progress_done": 0})
            self._backlog.add(self._stored_before)
            self._backlog.close()
            reading: list[Coroutine[Any, Any, None]] = []
        else:
            await self._step({"status": "reading", "progress_done": 0, "progress_total": 0})
            reading = [self._read()]
        await run_together(*reading, *(self._embed() for _ in range(EMBEDDING_TASKS)))
        while (lacking := await self._switch()) is not None:
            await self._make_up(lacking)
        log.info(
            "document.ready",
            document_id=str(self._work.document_id),
            version=self._work.version,
            chunks=self._backlog.size,
        )

    async def forget(self) -> None:
        async with self._held() as uow:
            await uow.chunks.delete_version(self._work.document_id, self._work.version)

    @contextlib.asynccontextmanager
    async def _held(self) -> AsyncIterator[UnitOfWork]:
        async with self._parts.uow(self._work.caller) as uow:
            await self._work.lease.hold(uow)
            yield uow

    async def _step(self, values: dict[str, Any]) -> None:
        async with self._held() as uow:
            if await uow.documents.update(self._work.document_id, self._work.version, values) is None:
                raise LeaseLost

    # --- reading, cutting, storing ---

    async def _read(self) -> None:
        splitter = make_splitter(self._spaces[0].embedder, self._row.lang or "en")
        waiting: list[Chunk] = []
        async with (
            self._parts.storage.local_copy(self._row.storage_key) as path,
            contextlib.aclosing(stream_isolated(path, self._row.kind, self._parts.limits)) as parts,
        ):
            pages = 0
            async for part in parts:
                if isinstance(part, NewPage) and part.number is not None:
                    pages += 1
                if isinstance(part, End):
                    await self._step({"status": "chunking", "page_count": pages or None})
                waiting += await asyncio.to_thread(_cut, splitter, part)
                while len(waiting) >= STORED_AT_ONCE:
                    await self._store(waiting[:STORED_AT_ONCE])
                    del waiting[:STORED_AT_ONCE]
        if waiting:
            await self._store(waiting)
        await self._all_stored()

    async def _store(self, chunks: Sequence[Chunk]) -> None:
        first, last = chunks[0].index, chunks[-1].index
        document_id, version = self._work.document_id, self._work.version
        rows = await asyncio.to_thread(self._rows, chunks)
        async with self._held() as uow:
            if not await uow.documents.is_current(document_id, version):
                raise LeaseLost
            if self._stored_before:
                present = await uow.chunks.stored_hashes(document_id, version, first=first, last=last)
                if any(row["content_hash"] != present.get(row["chunk_index"], row["content_hash"]) for row in rows):
                    raise CutDifferently
                rows = [row for row in rows if row["chunk_index"] not in present]
            if rows:
                await uow.chunks.add(rows)
                if self._row.indexed_version is not None:
                    await uow.chunks.copy_vectors(document_id, version, first=first, last=last)
        self._backlog.add(len(chunks))

    async def _all_stored(self) -> None:
        count = self._backlog.size
        if count == 0:
            raise UnreadableDocument("no_text", document=self._row.kind)
        async with self._held() as uow:
            await uow.chunks.delete_version(self._work.document_id, self._work.version, first=count)
            await uow.chunks.settle_words()
            values = {"status": "embedding", "progress_total": count}
            if await uow.documents.update(self._work.document_id, self._work.version, values) is None:
                raise LeaseLost
        self._backlog.close()

    def _rows(self, chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
        place = {"document_id": self._work.document_id, "document_version": self._work.version}
        return [chunk_columns(self._row.title, chunk) | place | {"id": new_id()} for chunk in chunks]

    # --- embedding ---

    async def _embed(self) -> None:
        while (window := await self._backlog.next_window()) is not None:
            first, last = window
            made = [await self._vectors(space, first, last) for space in self._spaces]
            async with self._held() as uow:
                for space, (ids, vectors) in zip(self._spaces, made, strict=True):
                    await uow.spaces.add_vectors(space.id, ids, vectors)
                done = last - first + 1
                if not await uow.documents.add_progress(self._work.document_id, self._work.version, done):
                    raise LeaseLost

    async def _vectors(self, space: Space, first: int, last: int) -> tuple[list[UUID], Vectors]:
        """(ids, vectors) of the chunks first..last that have none in the space."""
        async with self._parts.uow(self._work.caller) as uow:
            rows = await uow.chunks.without_vector(
                self._work.document_id, self._work.version, space.id, first=first, last=last
            )
        if not rows:
            return [], np.empty((0, space.dimensions), np.float32)
        texts = [embedded_text(self._row.title, row["heading"], row["content"]) for row in rows]
        return [row["id"] for row in rows], await space.embedder.embed_documents(texts)

    # --- the end ---

    async def _switch(self) -> EmbeddingSpace | None:
        """One transaction: the new version is seen, the old one is gone. A space that has become complete or the active
        one meanwhile comes back: it must have this document first."""
        document_id, version = self._work.document_id, self._work.version
        async with self._held() as uow:
            await uow.spaces.lock(shared=True)
            lacking = [
                space
                for space in await uow.spaces.all()
                if await uow.chunks.count_without_vector(document_id, version, space.id) > 0
            ]
            for space in lacking:
                if space.is_complete and space.id not in self._not_loaded:
                    return space
            await self._finish(uow)
            for space in lacking:
                await enqueue_fill(uow, space.id)
        return None

    async def _make_up(self, lacking: EmbeddingSpace) -> None:
        space = await self._parts.spaces.load(lacking)
        if space is None:
            self._not_loaded.add(lacking.id)
            return
        for first in range(0, self._backlog.size, WINDOW):
            ids, vectors = await self._vectors(space, first, first + WINDOW - 1)
            async with self._held() as uow:
                await uow.spaces.add_vectors(space.id, ids, vectors)

    async def _finish(self, uow: UnitOfWork) -> None:
        document_id, version = self._work.document_id, self._work.version
        chunks, words = await uow.chunks.totals(document_id, version)
        values = {
            "status": "ready", "indexed_version": version, "indexed_at": await uow.jobs.now(), "chunk_count": chunks,
            "term_count": words, "progress_done": chunks, "error_code": None, "error_detail": None,
        }  # fmt: skip
        document = await uow.documents.update(document_id, version, values)
        if document is None:
            raise LeaseLost
        await uow.chunks.delete_other_versions(document_id, version)
        if version > 1:
            await prune_later(uow, document_id)
        await refresh_later(uow)
        await announce(uow, document, "document.ready")


def _cut(splitter: Splitter, part: Part) -> list[Chunk]:
    match part:
        case NewPage(number):
            return splitter.begin_page(number)
        case Text(text):
            return splitter.feed(text)
        case End():
            return splitter.finish()
