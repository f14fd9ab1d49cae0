from fastapi import APIRouter, Response, status

from app.api.bodies import JSON_BYTES
from app.api.deps import IdPath, IngestCaller, RuntimeDep, parse_id
from app.api.guard import GuardedRoute
from app.schemas.documents import DocumentOut
from app.schemas.reindex import ReindexRequest, ReindexStarted
from app.services.documents import document_not_found

router = APIRouter(prefix="/api/v1/documents", tags=["documents"], route_class=GuardedRoute, max_body_size=JSON_BYTES)


@router.post(
    "/reindex", status_code=status.HTTP_202_ACCEPTED, operation_id="documents_reindex_many",
    summary="Index many documents anew",
)  # fmt: skip
async def reindex_many(runtime: RuntimeDep, caller: IngestCaller, body: ReindexRequest) -> ReindexStarted:
    return ReindexStarted(queued=await runtime.reindexing.run_many(caller, body))


@router.post(
    "/{document_id}/reindex", status_code=status.HTTP_202_ACCEPTED, operation_id="documents_reindex",
    summary="Index a document anew; search sees the old version until the new one is whole",
)  # fmt: skip
async def reindex(response: Response, runtime: RuntimeDep, caller: IngestCaller, document_id: IdPath) -> DocumentOut:
    document = await runtime.reindexing.run(caller, parse_id(document_id, document_not_found()))
    response.headers["Location"] = f"/api/v1/documents/{document.id}"
    return document
