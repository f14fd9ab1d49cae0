from functools import partial

from fastapi import APIRouter, Response, status

from app.api.bodies import JSON_BYTES
from app.api.deps import IdPath, ReindexCaller, RuntimeDep, parse_id
from app.api.guard import GuardedRoute
from app.api.idempotency import OnceDep, answer_with
from app.schemas.documents import DocumentOut
from app.schemas.reindex import ReindexRequest, ReindexStarted
from app.services.documents import document_not_found

router = APIRouter(prefix="/api/v1/documents", tags=["documents"], route_class=GuardedRoute, max_body_size=JSON_BYTES)


@router.post(
    "/reindex", status_code=status.HTTP_202_ACCEPTED, response_model=ReindexStarted,
    operation_id="documents_reindex_many", summary="Index many documents anew; `{}` is all of them",
)  # fmt: skip
async def reindex_many(runtime: RuntimeDep, caller: ReindexCaller, once: OnceDep, body: ReindexRequest) -> Response:
    return await once.answer(caller, partial(runtime.reindexing.run_many, request=body), _started)


def _started(queued: int) -> Response:
    return answer_with(ReindexStarted(queued=queued), 202)


@router.post(
    "/{document_id}/reindex", status_code=status.HTTP_202_ACCEPTED, response_model=DocumentOut,
    operation_id="documents_reindex",
    summary="Index a document anew; search sees the old version until the new one is whole",
)  # fmt: skip
async def reindex(runtime: RuntimeDep, caller: ReindexCaller, once: OnceDep, document_id: IdPath) -> Response:
    run = partial(runtime.reindexing.run, document_id=parse_id(document_id, document_not_found()))
    return await once.answer(caller, run, _queued)


def _queued(document: DocumentOut) -> Response:
    return answer_with(document, 202, Location=f"/api/v1/documents/{document.id}")
