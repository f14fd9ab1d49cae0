"""From the original file to searchable passages, in steps that a crash between any two leaves safe.

The text comes out of the reading process as a stream, is cut, and its chunks are stored under the document's version
while those before them are embedded. Search sees a version only once the last step has switched to it. The chunks
in the database are the list of what is still to be embedded: a second run goes on where the first one stopped, because
reading and cutting are deterministic, and memory does not grow with the document.
"""

from uuid import UUID

from app.core.errors import NotFound, RagchatError
from app.db.uow import UnitOfWork
from app.services.documents import prune_later
from app.services.indexing import CutDifferently, IndexingRun, Parts, Work
from app.services.leases import LeaseLost
from app.services.webhooks import announce


class IngestionService:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self, work: Work) -> None:
        """Indexes the version. UnreadableDocument when its content cannot be used, LeaseLost when it is not ours."""
        try:
            run = await self._begin(work)
            try:
                await run.to_the_end()
            except CutDifferently:
                await run.forget()
                await (await self._begin(work)).to_the_end()
        except NotFound as exc:
            if exc.code == "gone":
                raise LeaseLost from exc
            raise

    async def _begin(self, work: Work) -> IndexingRun:
        async with self._parts.uow(work.caller) as uow:
            await work.lease.hold(uow)
            row = await uow.documents.get(work.document_id)
            if row is None or row.version != work.version:
                raise LeaseLost
            stored, _ = await uow.chunks.totals(work.document_id, work.version)
            kept = await self._parts.spaces.kept(uow)
        spaces = [space for each in kept if (space := await self._parts.spaces.load(each)) is not None]
        not_loaded = {space.id for space in kept} - {space.id for space in spaces}
        return IndexingRun(self._parts, work, row, stored_before=stored, spaces=spaces, not_loaded=not_loaded)

    async def fail(self, work: Work, error: RagchatError) -> None:
        """Leaves the reason on the row and ends the job: who sees the failure may send the document again at once, and
        a new job must not be taken for a twin of this one. LeaseLost when it is not ours."""
        async with self._parts.uow(work.caller) as uow:
            await work.lease.hold(uow)
            await mark_failed(uow, work.document_id, work.version, code=error.code, detail=error.detail)
            await uow.jobs.complete(work.lease.job_id, work.lease.token, error_code=error.code)


async def mark_failed(uow: UnitOfWork, document_id: UUID, version: int, *, code: str, detail: str) -> None:
    """Of no effect when there is a newer version. An older one that search sees stays."""
    values = {"status": "failed", "error_code": code, "error_detail": detail}
    document = await uow.documents.update(document_id, version, values)
    if document is None:
        return
    # Also what an older version had stored when this one came: nobody works on that any more.
    await uow.chunks.delete_other_versions(document_id, document.indexed_version or 0)
    if version > 1:
        await prune_later(uow, document_id)
    await announce(uow, document, "document.failed")
