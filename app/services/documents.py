"""Documents: accepted, listed, read back, deleted. How they are indexed is in ingestion.py."""

import math
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Forbidden, Invalid, Kind, NotFound, RagchatError, TooLarge
from app.core.ids import new_id
from app.db.uow import UnitOfWork, UowFactory
from app.models import Chunk, Document, DocumentVersion
from app.providers.ports import Incoming, Storage
from app.readers.sniff import normalise_filename, sniff
from app.repositories.jobs import BACKGROUND, USUAL
from app.repositories.paging import Paging
from app.schemas.documents import DocumentError, DocumentFields, DocumentOut, Progress
from app.services.admission import admit
from app.services.forgetting import FORGET, forget_document
from app.services.idempotency import Answer, once
from app.services.statistics import refresh_later

INGEST = "document.ingest"
DELETE_FILE = "file.delete"
PRUNE = "document.prune"
PRUNE_AFTER_SECONDS = 900.0
UNTIL_DONE = 100_000
SMALL_BYTES = 4_096
MOST_LATER = 60
Original = Document | DocumentVersion


@dataclass(frozen=True, slots=True)
class Upload:
    fields: DocumentFields
    filename: str
    blocks: AsyncIterable[bytes]
    metadata: dict[str, Any]


def document_not_found() -> NotFound:
    return NotFound("document_not_found", "There is no such document.")


async def not_to_change(uow: UnitOfWork, document_id: UUID) -> RagchatError:
    """Why: a user may know of the tenant's shared documents, and of nobody else's."""
    return document_not_found() if await uow.documents.get(document_id) is None else Forbidden()


class DocumentService:
    def __init__(self, uow: UowFactory, storage: Storage, *, max_bytes: int) -> None:
        self._uow = uow
        self._storage = storage
        self._max_bytes = max_bytes

    async def create(self, caller: Caller, upload: Upload) -> tuple[DocumentOut, bool]:
        """The document, and whether there is new work: the same bytes again are the same document."""
        filename = normalise_filename(upload.filename)
        async with self._storage.receive() as incoming:
            await self._fill(incoming, upload.blocks)
            kind = sniff(incoming.head, filename)
            sha256 = bytes.fromhex(incoming.digest())
            async with self._uow(caller) as uow, once(uow) as answer:
                existing = await _find(uow, upload.fields, sha256)
                if existing is not None and existing.sha256 == sha256:
                    return await _again(uow, existing, answer)
                answer.postpone()
            key = f"{caller.tenant_id}/{new_id()}"
            await incoming.commit(key)
            values = _values(upload, filename=filename, kind=kind, sha256=sha256, size=incoming.size, key=key)
            try:
                return await self._save(caller, upload.fields, values)
            except RagchatError as exc:
                # When it is unknown whether the row was stored, a file too many is better than a row without one.
                if exc.kind is not Kind.UNAVAILABLE:
                    await self._storage.delete(key)
                raise

    async def _fill(self, incoming: Incoming, blocks: AsyncIterable[bytes]) -> None:
        async for block in blocks:
            if incoming.size + len(block) > self._max_bytes:
                raise TooLarge("too_large", f"A document may have {self._max_bytes // 2**20} MiB at most.")
            await incoming.write(block)
        if incoming.size == 0:
            raise Invalid("empty_file", "The file is empty.", pointer="/file")

    async def _save(self, caller: Caller, fields: DocumentFields, values: dict[str, Any]) -> tuple[DocumentOut, bool]:
        """The row and its job in one transaction; a file that turns out not to be needed goes by a job, too."""
        async with self._uow(caller) as uow, once(uow) as answer:
            await admit(uow, caller.user_id)
            document = await uow.documents.insert(values | {"id": new_id()})
            if document is None:
                document = await _find(uow, fields, values["sha256"])
                if document is None:
                    raise document_not_found()  # deleted between the two statements: the client may try again
                if document.sha256 == values["sha256"]:
                    await delete_file(uow, values["storage_key"])
                    return await _again(uow, document, answer)
                document = await _new_version(uow, document, values)
            await _enqueue(uow, document)
            return answer.keep((document_out(document), True), document.id)

    async def get(self, caller: Caller, document_id: UUID) -> DocumentOut:
        return document_out(await self._load(caller, document_id))

    async def _load(self, caller: Caller, document_id: UUID) -> Document:
        async with self._uow(caller) as uow:
            document = await uow.documents.get(document_id)
        if document is None:
            raise document_not_found()
        return document

    async def list_page(
        self,
        caller: Caller,
        paging: Paging,
        *,
        status: str | None = None,
        collection: str | None = None,
        q: str | None = None,
    ) -> tuple[list[DocumentOut], int, str | None]:
        async with self._uow(caller) as uow:
            rows, total, cursor = await uow.documents.list_page(
                paging=paging, status=status, collection=collection, q=q
            )
        return [document_out(row) for row in rows], total, cursor

    async def chunks(self, caller: Caller, document_id: UUID, paging: Paging) -> tuple[list[Chunk], int]:
        async with self._uow(caller) as uow:
            if await uow.documents.get(document_id) is None:
                raise document_not_found()
            return await uow.chunks.list_page(document_id, paging)

    async def original(self, caller: Caller, document_id: UUID, version: int | None = None) -> Original:
        """The row of the file to send, of the newest version unless said; its bytes come from `content`."""
        document = await self._load(caller, document_id)
        if version is None or version == document.version:
            return document
        async with self._uow(caller) as uow:
            superseded = await uow.documents.version(document_id, version)
        if superseded is None:
            raise NotFound("version_not_found", "This version of the document is not kept any more.")
        return superseded

    def content(self, document: Original, start: int, end: int) -> AsyncIterator[bytes]:
        return self._storage.stream(document.storage_key, start, end)

    async def delete(self, caller: Caller, document_id: UUID) -> None:
        """Row, chunks, vectors and what answers quoted at once, the files by jobs of the same transaction."""
        async with self._uow(caller) as uow:
            if await delete_document(uow, document_id) is None:
                raise await not_to_change(uow, document_id)
            await uow.audit.record("document.delete", "document", document_id)

    async def prune(self, caller: Caller, document_id: UUID) -> None:
        """Removes what no answer cites of its superseded versions."""
        async with self._uow(caller) as uow:
            for key in await uow.documents.prune_versions(document_id):
                await delete_file(uow, key)


async def _find(uow: UnitOfWork, fields: DocumentFields, sha256: bytes) -> Document | None:
    if fields.external_id is not None:
        return await uow.documents.find_external(fields.external_id, fields.collection)
    return await uow.documents.find_same_bytes(sha256, fields.collection)


async def _again(uow: UnitOfWork, document: Document, answer: Answer) -> tuple[DocumentOut, bool]:
    """Sending a document that failed once more is how people ask for another try."""
    if document.status != "failed":
        return answer.keep((document_out(document), False), document.id)
    retried = await uow.documents.update(
        document.id, document.version, {"status": "queued", "error_code": None, "error_detail": None}
    )
    if retried is None:
        raise document_not_found()
    await _enqueue(uow, retried)
    return answer.keep((document_out(retried), True), retried.id)


async def _new_version(uow: UnitOfWork, document: Document, values: dict[str, Any]) -> Document:
    """Search goes on seeing the old version until the new one is whole."""
    await uow.documents.keep_version(document)
    fresh = {
        "status": "queued",
        "error_code": None,
        "error_detail": None,
        "progress_done": 0,
        "progress_total": 0,
    }
    updated = await uow.documents.update(
        document.id, document.version, values | fresh | {"version": document.version + 1}
    )
    if updated is None:
        raise document_not_found()
    return updated


async def _enqueue(uow: UnitOfWork, document: Document) -> None:
    payload, dedupe_key = ingest_job(document.id, document.version)
    await uow.jobs.enqueue(INGEST, payload, dedupe_key=dedupe_key, priority=urgency(document.size_bytes))


def urgency(size_bytes: int) -> int:
    """Of the job: small documents before large ones, so that a letter does not wait for a book. Always before what
    nobody waits for."""
    return USUAL + min(MOST_LATER, max(0, int(5 * math.log2(max(1, size_bytes) / SMALL_BYTES))))


def ingest_job(document_id: UUID, version: int) -> tuple[dict[str, Any], str]:
    """(payload, dedupe key)"""
    return {"document_id": str(document_id), "version": version}, f"{INGEST}:{document_id}:{version}"


async def delete_document(uow: UnitOfWork, document_id: UUID, *, erasure_id: UUID | None = None) -> int | None:
    """How many files go with it; None, and nothing must be kept, when it is not the caller's to delete. What is left to
    jobs is marked as an erasure's, which sees that it is done."""
    of = {"erasure_id": str(erasure_id)} if erasure_id else {}
    superseded = await uow.documents.storage_keys(document_id)
    await uow.idempotency.forget(document_id)  # a user's transaction sees it as long as the document is there
    key = await uow.documents.delete(document_id)
    if key is None:
        return None
    more = await forget_document(uow, document_id)
    if more or uow.caller.user_id is not None:  # a user's transaction does not see who else was quoted it
        rest = {"document_id": str(document_id)} | of
        await uow.jobs.enqueue(FORGET, rest, dedupe_key=f"{FORGET}:{document_id}")
    keys = superseded | {key}
    for each in keys:
        await delete_file(uow, each, **of)
    await refresh_later(uow)
    return len(keys)


async def delete_file(uow: UnitOfWork, key: str, **of: str) -> None:
    """In the transaction that made the file superfluous; tried until it is gone."""
    await uow.jobs.enqueue(DELETE_FILE, {"key": key} | of, dedupe_key=f"{DELETE_FILE}:{key}", max_attempts=UNTIL_DONE)


async def prune_later(uow: UnitOfWork, document_id: UUID) -> None:
    """Answers that are being written now may cite the old version: they get time."""
    await uow.jobs.enqueue(
        PRUNE,
        {"document_id": str(document_id)},
        dedupe_key=f"{PRUNE}:{document_id}",
        priority=BACKGROUND,
        delay_seconds=PRUNE_AFTER_SECONDS,
    )


def _values(upload: Upload, *, filename: str, kind: str, sha256: bytes, size: int, key: str) -> dict[str, Any]:
    return {
        "title": upload.fields.title or filename,
        "filename": filename,
        "kind": kind,
        "sha256": sha256,
        "size_bytes": size,
        "storage_key": key,
        "external_id": upload.fields.external_id,
        "collection": upload.fields.collection,
        "lang": upload.fields.lang,
        "metadata_": upload.metadata,
    }


def document_out(row: Document) -> DocumentOut:
    error = None
    if row.error_code is not None:
        error = DocumentError(code=row.error_code, detail=row.error_detail or "")
    return DocumentOut(
        id=row.id,
        title=row.title,
        filename=row.filename,
        kind=row.kind,
        status=row.status,
        progress=Progress(stage=row.status, done=row.progress_done, total=row.progress_total),
        error=error,
        sha256=row.sha256.hex(),
        size_bytes=row.size_bytes,
        version=row.version,
        indexed_version=row.indexed_version,
        external_id=row.external_id,
        collection=row.collection,
        lang=row.lang,
        pages=row.page_count,
        chunks=row.chunk_count,
        metadata=row.metadata_,
        created_at=row.created_at,
        updated_at=row.updated_at,
        indexed_at=row.indexed_at,
    )
