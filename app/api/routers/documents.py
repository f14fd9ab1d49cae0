import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile

from app.api.deps import (
    ChatCaller,
    IdPath,
    IngestCaller,
    PagingDep,
    RateLimitsDep,
    RuntimeDep,
    StatusCaller,
    VersionQuery,
    parse_id,
)
from app.api.downloads import send_original
from app.api.forms import Items, read_form
from app.api.guard import GuardedRoute, parse_json, require_json
from app.api.idempotency import OnceDep, answer_with, said_in_form, said_in_text
from app.api.rate_limit import announced_mebibytes, counts_as
from app.api.validation import valid
from app.core.errors import Invalid, Unsupported
from app.readers.suffixes import ALLOWED_SUFFIXES
from app.schemas.common import Page, page
from app.schemas.documents import ChunkOut, DescribedDocument, DocumentFields, DocumentOut, DocumentText, Status
from app.services.documents import Upload, document_not_found

router = APIRouter(prefix="/api/v1/documents", tags=["documents"], route_class=GuardedRoute)

BLOCK_BYTES = 1 << 18
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": ", ".join(ALLOWED_SUFFIXES)},
                        "text": {"type": "string", "description": "Instead of a file."},
                        "title": {"type": "string"},
                        "external_id": {"type": "string"},
                        "collection": {"type": "string"},
                        "lang": {"type": "string"},
                        "metadata": {"type": "string", "description": "A JSON object."},
                    },
                }
            },
            "application/json": {
                "schema": DocumentText.model_json_schema(ref_template="#/components/schemas/{model}")
            },
        },
    }
}  # fmt: skip


@router.post(
    "", status_code=status.HTTP_202_ACCEPTED, response_model=DocumentOut, operation_id="documents_create",
    openapi_extra=UPLOAD_BODY, summary="Add a document: a file (multipart) or text (JSON)",
    responses={200: {"model": DocumentOut, "description": "The same bytes were sent before: the existing document."}},
)  # fmt: skip
@counts_as("uploads")
async def create(
    request: Request, runtime: RuntimeDep, limits: RateLimitsDep, caller: IngestCaller, once: OnceDep
) -> Response:
    most = runtime.settings.max_upload_bytes
    await limits.hit_principal("upload_mb", caller, announced_mebibytes(request.headers, most))
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        require_json(request.headers)
        data = await asyncio.to_thread(parse_json, await request.body())
        body = valid(DocumentText, data)
        add = partial(runtime.documents.create, upload=_from_json(body))
        return await once.answer(caller, add, _accepted, said=partial(said_in_text, data, body.text), early=True)
    if media_type == "multipart/form-data":
        async with read_form(request, max_field_bytes=most) as items:
            add = partial(runtime.documents.create, upload=_from_form(items))
            return await once.answer(caller, add, _accepted, said=partial(said_in_form, items), early=True)
    raise Unsupported("unsupported_type", "Send multipart/form-data with a file, or application/json with `text`.")


def _accepted(made: tuple[DocumentOut, bool]) -> Response:
    document, fresh = made
    return answer_with(document, 202 if fresh else 200, Location=f"/api/v1/documents/{document.id}")


def _from_json(body: DocumentText) -> Upload:
    return Upload(_fields(body), _text_name(body.title), _once(body.text.encode()), body.metadata)


def _fields(body: DescribedDocument) -> DocumentFields:
    return DocumentFields(**body.model_dump(include=set(DocumentFields.model_fields), exclude_unset=True))


def _from_form(items: Items) -> Upload:
    form = dict(items)
    file, text = form.pop("file", None), form.pop("text", None)
    if (file is None or file == "") == (text is None or text == ""):
        raise Invalid("missing_file", "Send either a file or text.", pointer="/file")
    described = valid(DescribedDocument, {name: _told(name, value) for name, value in form.items() if value != ""})
    fields = _fields(described)
    if isinstance(file, UploadFile):
        return Upload(fields, file.filename or "", _blocks(file), described.metadata)
    if not isinstance(text, str):
        raise Invalid("missing_file", "`file` must be a file and `text` a string.", pointer="/file")
    body = valid(DocumentText, {"text": text})
    return Upload(fields, _text_name(fields.title), _once(body.text.encode()), described.metadata)


def _told(name: str, value: object) -> object:
    """Forms know text only: `metadata` is JSON in it."""
    if name != "metadata" or not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except Invalid as exc:
        raise Invalid("malformed_json", "`metadata` must be a JSON object.", pointer="/metadata") from exc


def _text_name(title: str | None) -> str:
    return f"{title or 'text'}.txt"


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _blocks(file: UploadFile) -> AsyncIterator[bytes]:
    while block := await file.read(BLOCK_BYTES):
        yield block


@router.get(
    "", operation_id="documents_list", summary="List documents, newest first",
)  # fmt: skip
async def list_(
    runtime: RuntimeDep,
    caller: StatusCaller,
    paging: PagingDep,
    status: Status | None = None,
    collection: Annotated[str | None, Query(max_length=255)] = None,
    q: Annotated[str | None, Query(min_length=1, max_length=200, description="Part of the title.")] = None,
) -> Page[DocumentOut]:
    items, total, cursor = await runtime.documents.list_page(caller, paging, status=status, collection=collection, q=q)
    return page(items, total=total, skip=paging.skip, limit=paging.limit, next_cursor=cursor)


@router.get("/{document_id}", operation_id="documents_get", summary="Read a document's state")
async def get(runtime: RuntimeDep, caller: StatusCaller, document_id: IdPath) -> DocumentOut:
    return await runtime.documents.get(caller, parse_id(document_id, document_not_found()))


@router.get(
    "/{document_id}/chunks", operation_id="documents_chunks", summary="What was indexed",
)  # fmt: skip
async def chunks(runtime: RuntimeDep, caller: ChatCaller, document_id: IdPath, paging: PagingDep) -> Page[ChunkOut]:
    if paging.cursor is not None:
        raise Invalid("invalid_cursor", "Chunks are paged by `skip` and `limit`.", pointer="/cursor")
    id_ = parse_id(document_id, document_not_found())
    rows, total = await runtime.documents.chunks(caller, id_, paging)
    items = [ChunkOut.model_validate(row) for row in rows]
    return page(items, total=total, skip=paging.skip, limit=paging.limit, next_cursor=None)


@router.get(
    "/{document_id}/content", operation_id="documents_content", summary="The original file",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}}, 206: {"description": "A part, for `Range`."}},
)  # fmt: skip
async def content(
    request: Request, runtime: RuntimeDep, caller: ChatCaller, document_id: IdPath, version: VersionQuery = None
) -> Response:
    """A superseded version is kept as long as an answer cites it."""
    original = await runtime.documents.original(caller, parse_id(document_id, document_not_found()), version)
    return await send_original(request, original, runtime.documents.content)


@router.delete(
    "/{document_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="documents_delete",
    summary="Delete a document, its passages, vectors and file",
)  # fmt: skip
async def delete(runtime: RuntimeDep, caller: IngestCaller, document_id: IdPath) -> None:
    await runtime.documents.delete(caller, parse_id(document_id, document_not_found()))
