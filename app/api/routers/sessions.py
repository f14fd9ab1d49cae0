from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response, status

from app.api.bodies import JSON_BYTES
from app.api.deps import ChatCaller, IdPath, IfMatch, PagingDep, RuntimeDep, parse_id, refuse_input
from app.api.guard import GuardedRoute
from app.api.idempotency import OnceDep, answer_with
from app.api.validation import missing
from app.models import ChatSession
from app.schemas.common import Page, page
from app.schemas.sessions import SessionCreate, SessionOut, SessionUpdate
from app.services.messages import as_csv, as_json, as_markdown
from app.services.sessions import session_not_found

router = APIRouter(prefix="/api/v1/sessions", tags=["sessions"], route_class=GuardedRoute, max_body_size=JSON_BYTES)

EXPORTS = {
    "json": "application/json",
    "markdown": "text/markdown; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
}
Search = Annotated[str | None, Query(min_length=1, max_length=200, description="Words in titles and messages.")]
Label = Annotated[str | None, Query(max_length=255)]


def _tagged(response: Response, session: ChatSession) -> SessionOut:
    response.headers["ETag"] = f'"{session.version}"'
    return SessionOut.model_validate(session)


@router.post(
    "", status_code=status.HTTP_201_CREATED, response_model=SessionOut, operation_id="sessions_create",
    summary="Open a session",
)  # fmt: skip
async def create(runtime: RuntimeDep, caller: ChatCaller, once: OnceDep, body: SessionCreate) -> Response:
    if body.user_id is None and caller.user_id is None:
        raise missing("user_id")
    return await once.answer(caller, partial(runtime.sessions.create, request=body), _created)


def _created(session: ChatSession) -> Response:
    location = f"/api/v1/sessions/{session.id}"
    return answer_with(SessionOut.model_validate(session), 201, Location=location, ETag=f'"{session.version}"')


@router.get(
    "", operation_id="sessions_list", summary="List sessions, newest activity first",
)  # fmt: skip
async def list_(
    runtime: RuntimeDep,
    caller: ChatCaller,
    paging: PagingDep,
    user_id: Label = None,
    is_favorite: bool | None = None,
    scenario_id: Label = None,
    q: Search = None,
) -> Page[SessionOut]:
    rows, total, cursor = await runtime.sessions.list_page(
        caller, paging, user_id=user_id, is_favorite=is_favorite, scenario_id=scenario_id, q=q
    )
    items = [SessionOut.model_validate(row) for row in rows]
    return page(items, total=total, skip=paging.skip, limit=paging.limit, next_cursor=cursor)


@router.get("/{session_id}", operation_id="sessions_get", summary="Read a session")
async def get(runtime: RuntimeDep, caller: ChatCaller, session_id: IdPath, response: Response) -> SessionOut:
    session = await runtime.sessions.get(caller, parse_id(session_id, session_not_found()))
    return _tagged(response, session)


@router.put("/{session_id}", operation_id="sessions_update", summary="Change title, favourite or metadata")
async def update(
    runtime: RuntimeDep,
    caller: ChatCaller,
    session_id: IdPath,
    body: SessionUpdate,
    if_version: IfMatch,
    response: Response,
) -> SessionOut:
    id_ = parse_id(session_id, session_not_found())
    return _tagged(response, await runtime.sessions.update(caller, id_, body, if_version=if_version))


@router.patch(
    "/{session_id}/favorite", operation_id="sessions_toggle_favorite", summary="Toggle the favourite mark",
    dependencies=[Depends(refuse_input)],
)  # fmt: skip
async def toggle_favorite(
    runtime: RuntimeDep, caller: ChatCaller, session_id: IdPath, response: Response
) -> SessionOut:
    """It sets nothing but the other of two states, so it takes no body and no query; PUT of the session says which."""
    return _tagged(response, await runtime.sessions.toggle_favorite(caller, parse_id(session_id, session_not_found())))


@router.delete(
    "/{session_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="sessions_delete",
    summary="Delete a session with its messages and turns",
)  # fmt: skip
async def delete(runtime: RuntimeDep, caller: ChatCaller, session_id: IdPath) -> None:
    await runtime.sessions.delete(caller, parse_id(session_id, session_not_found()))


@router.get(
    "/{session_id}/export", operation_id="sessions_export", summary="Export the conversation with its sources",
    response_class=Response, responses={200: {"content": {media.partition(";")[0]: {} for media in EXPORTS.values()}}},
)  # fmt: skip
async def export(
    runtime: RuntimeDep,
    caller: ChatCaller,
    session_id: IdPath,
    format: Annotated[Literal["json", "markdown", "csv"], Query()] = "json",
) -> Response:
    session, messages = await runtime.messages.export(caller, parse_id(session_id, session_not_found()))
    writers = {"json": as_json, "markdown": as_markdown, "csv": as_csv}
    text = writers[format](session, messages)
    suffix = {"markdown": "md"}.get(format, format)
    headers = {"Content-Disposition": f'attachment; filename="session-{session.id}.{suffix}"'}
    return Response(text, media_type=EXPORTS[format], headers=headers)
