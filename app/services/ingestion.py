"""From the original file to searchable passages, in steps that a crash between any two leaves safe.

Chunks are written batch by batch under the document's version; search sees a version only once the last step has
switched to it. A second run goes on where the first one stopped, because reading and chunking are deterministic.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import RagchatError
from app.core.ids import new_id
from app.core.logging import get_logger
from app.db.uow import UnitOfWork, UowFactory
from app.languages import get_language
from app.models import Document as DocumentRow
from app.providers.ports import Embedder, Storage
from app.rag.chunking import Chunk, split
from app.readers.document import Document
from app.readers.errors import UnreadableDocument
from app.readers.isolated import read_isolated
from app.readers.limits import Limits

BATCH = 64
RESERVED_TOKENS = 48
"""Left for the heading or title that is embedded with each chunk, and for the model's own two."""
log = get_logger(__name__)


class LeaseLost(RagchatError):
    """Another worker has this job now, or the document is gone or replaced; nothing more may be written."""

    default_code = "lease_lost"


@dataclass(frozen=True, slots=True)
class Lease:
    job_id: UUID
    token: UUID

    async def hold(self, uow: UnitOfWork) -> None:
        """Keeps the job ours until this transaction ends. LeaseLost when it is not."""
        if not await uow.jobs.holds_lease(self.job_id, self.token):
            raise LeaseLost


@dataclass(frozen=True, slots=True)
class Work:
    """One version of one document, under one lease."""

    caller: Caller
    document_id: UUID
    version: int
    lease: Lease


class IngestionService:
    def __init__(self, uow: UowFactory, storage: Storage, embedder: Embedder, *, space_id: int, limits: Limits) -> None:
        self._uow = uow
        self._storage = storage
        self._embedder = embedder
        self._space_id = space_id
        self._limits = limits

    async def run(self, work: Work) -> None:
        """Indexes the version. UnreadableDocument when its content cannot be used, LeaseLost when it is not ours."""
        row = await self._step(work, {"status": "reading", "progress_done": 0, "progress_total": 0})
        async with self._storage.local_copy(row.storage_key) as path:
            document = await read_isolated(path, row.kind, self._limits)
        await self._step(work, {"status": "chunking", "page_count": _page_count(document)})
        chunks = await asyncio.to_thread(self._split, document, row.lang)
        if not chunks:
            raise UnreadableDocument("no_text")
        await self._step(work, {"status": "embedding", "progress_total": len(chunks)})
        await self._store(work, row.title, chunks)
        await self._switch(work)
        log.info("document.ready", document_id=str(work.document_id), version=work.version, chunks=len(chunks))

    def _split(self, document: Document, lang: str | None) -> list[Chunk]:
        pages = [(page.number, page.text) for page in document.pages]
        room = self._embedder.max_tokens - RESERVED_TOKENS
        return split(pages, self._embedder.token_spans, max_tokens=room, default_lang=lang or "en")

    async def _step(self, work: Work, values: dict[str, Any]) -> DocumentRow:
        async with self._uow(work.caller) as uow:
            await work.lease.hold(uow)
            row = await uow.documents.update(work.document_id, work.version, values)
        if row is None:
            raise LeaseLost
        return row

    async def _store(self, work: Work, title: str, chunks: Sequence[Chunk]) -> None:
        missing = await self._missing(work, title, chunks)
        done = len(chunks) - len(missing)
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            vectors = await self._embedder.embed_documents([embedded_text(title, chunk) for chunk in batch])
            rows = [_row(work, title, chunk, vector.tolist()) for chunk, vector in zip(batch, vectors, strict=True)]
            done += len(batch)
            async with self._uow(work.caller) as uow:
                await work.lease.hold(uow)
                if await uow.documents.update(work.document_id, work.version, {"progress_done": done}) is None:
                    raise LeaseLost
                await uow.chunks.add(rows, self._space_id)

    async def _missing(self, work: Work, title: str, chunks: Sequence[Chunk]) -> list[Chunk]:
        """What an earlier run has not stored. Its chunks count only when they are the same: a newer program may cut
        differently, and a version must not hold both."""
        hashes = {chunk.index: content_hash(title, chunk) for chunk in chunks}
        async with self._uow(work.caller) as uow:
            await work.lease.hold(uow)
            present = await uow.chunks.present(work.document_id, work.version, self._space_id)
            if any(hashes.get(index) != stored for index, stored in present.items()):
                await uow.chunks.delete_version(work.document_id, work.version)
                present = {}
        return [chunk for chunk in chunks if chunk.index not in present]

    async def _switch(self, work: Work) -> None:
        """One transaction: the new version is seen, the old one is gone."""
        async with self._uow(work.caller) as uow:
            await work.lease.hold(uow)
            chunks, words = await uow.chunks.totals(work.document_id, work.version)
            now = await uow.jobs.now()
            values = {
                "status": "ready", "indexed_version": work.version, "indexed_at": now, "chunk_count": chunks,
                "term_count": words, "error_code": None, "error_detail": None,
            }  # fmt: skip
            if await uow.documents.update(work.document_id, work.version, values) is None:
                raise LeaseLost
            await uow.chunks.delete_other_versions(work.document_id, work.version)

    async def fail(self, work: Work, error: RagchatError) -> None:
        """Leaves the reason on the row; an older version that search sees stays."""
        async with self._uow(work.caller) as uow:
            await mark_failed(uow, work.document_id, work.version, code=error.code, detail=error.detail)


async def mark_failed(uow: UnitOfWork, document_id: UUID, version: int, *, code: str, detail: str) -> None:
    values = {"status": "failed", "error_code": code, "error_detail": detail}
    updated = await uow.documents.update(document_id, version, values)
    if updated is not None and updated.indexed_version != version:
        await uow.chunks.delete_version(document_id, version)


def embedded_text(title: str, chunk: Chunk) -> str:
    """The passage under its heading, or the title: alone it often does not say what it is about."""
    above = chunk.heading or title
    return chunk.text if chunk.text.startswith(above) else f"{above}\n{chunk.text}"


def content_hash(title: str, chunk: Chunk) -> bytes:
    return hashlib.sha256(embedded_text(title, chunk).encode()).digest()


def searched_text(title: str, chunk: Chunk) -> str:
    """What full text search sees; longer than what is embedded, for words that stand in the title only."""
    return "\n".join(part for part in (title, chunk.heading, chunk.text) if part)


def _row(work: Work, title: str, chunk: Chunk, vector: list[float]) -> dict[str, Any]:
    return {
        "id": new_id(),
        "document_id": work.document_id,
        "document_version": work.version,
        "chunk_index": chunk.index,
        "page": chunk.page,
        "char_start": chunk.char_start,
        "char_end": chunk.char_end,
        "heading": chunk.heading,
        "content": chunk.text,
        "content_hash": content_hash(title, chunk),
        "token_count": chunk.token_count,
        "lang": chunk.lang,
        "config": get_language(chunk.lang).text_search,
        "indexed": searched_text(title, chunk),
        "embedding": vector,
    }


def _page_count(document: Document) -> int | None:
    return len(document.pages) if document.pages and document.pages[0].number is not None else None
