"""Indexing anew what is stored: a new version of the same bytes, so that search sees the old one until it is whole."""

from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.db.uow import UnitOfWork, UowFactory
from app.models import Document
from app.repositories.jobs import BACKGROUND
from app.schemas.documents import DocumentOut
from app.schemas.reindex import ReindexRequest
from app.services.documents import INGEST, document_not_found, document_out, ingest_job, not_to_change
from app.services.idempotency import once

AT_ONCE = 500
FIRST_ID: UUID | None = UUID(int=0)
ENDED = ("ready", "failed")
FRESH: dict[str, Any] = {
    "status": "queued",
    "error_code": None,
    "error_detail": None,
    "progress_done": 0,
    "progress_total": 0,
}


class ReindexService:
    def __init__(self, uow: UowFactory) -> None:
        self._uow = uow

    async def run(self, caller: Caller, document_id: UUID) -> DocumentOut:
        async with self._uow(caller) as uow, once(uow) as answer:
            document = await uow.documents.get(document_id, for_update=True, writable=True)
            if document is None:
                raise await not_to_change(uow, document_id)
            await uow.audit.record("document.reindex", "document", document_id)
            return answer.keep(document_out(await requeue(uow, document)), document_id)

    async def run_many(self, caller: Caller, request: ReindexRequest) -> int:
        """How many were queued. A transaction for each few hundred, so that no other work on documents waits; one for
        all of them when it must happen once."""
        queued, after = 0, FIRST_ID
        if caller.claim is None:
            async with self._uow(caller) as uow:
                await uow.audit.record("documents.reindex")
            while after is not None:
                async with self._uow(caller) as uow:
                    count, after = await _requeue_some(uow, request, after)
                queued += count
            return queued
        async with self._uow(caller) as uow, once(uow) as answer:
            await uow.audit.record("documents.reindex")
            while after is not None:
                count, after = await _requeue_some(uow, request, after)
                queued += count
            return answer.keep(queued, None)


async def _requeue_some(uow: UnitOfWork, request: ReindexRequest, after: UUID) -> tuple[int, UUID | None]:
    """(how many, where to go on); behind what somebody waits for."""
    ids = await uow.documents.ended(collection=request.collection, status=request.status, after=after, limit=AT_ONCE)
    changed = await uow.documents.requeue(ids)
    jobs = [ingest_job(id_, version) for id_, version in changed]
    await uow.jobs.enqueue_many(INGEST, jobs, priority=BACKGROUND)
    return len(changed), ids[-1] if len(ids) == AT_ONCE else None


async def requeue(uow: UnitOfWork, document: Document) -> Document:
    """The document's row must be locked. One that is queued or in work stays as it is: its result is what counts."""
    if document.status in ENDED:
        await uow.documents.keep_version(document)
        updated = await uow.documents.update(document.id, document.version, FRESH | {"version": document.version + 1})
        if updated is None:
            raise document_not_found()
        document = updated
    payload, dedupe_key = ingest_job(document.id, document.version)
    await uow.jobs.enqueue(INGEST, payload, dedupe_key=dedupe_key)  # of no effect where there is one
    return document
