import json
from typing import Any

from fastapi import APIRouter, Response

from app.api.bodies import JSON_BYTES
from app.api.deps import IdPath, RuntimeDep, StatusCaller, parse_id
from app.api.guard import GuardedRoute
from app.api.streams import EventStream, frame
from app.services.document_events import DocumentEvent
from app.services.documents import document_not_found

router = APIRouter(prefix="/api/v1/documents", tags=["documents"], route_class=GuardedRoute, max_body_size=JSON_BYTES)
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`progress` with the document as `data`, at once and with every change; `ready`, `failed` or "
        "`deleted` is the last event. A stream ends after ten minutes at the latest: connect again.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/{document_id}/events", operation_id="documents_events", summary="Watch a document's indexing (SSE)",
    response_class=Response, responses=EVENTS,
)  # fmt: skip
async def events(runtime: RuntimeDep, caller: StatusCaller, document_id: IdPath) -> EventStream:
    id_ = parse_id(document_id, document_not_found())
    await runtime.documents.get(caller, id_)
    return EventStream(runtime.document_events.follow(caller, id_), _frame)


def _frame(event: DocumentEvent) -> bytes:
    if event.document is None:
        return frame(event.type, json.dumps({"id": str(event.document_id)}))
    return frame(event.type, event.document.model_dump_json())
