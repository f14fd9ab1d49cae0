from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from app.api.bodies import JSON_BYTES
from app.api.deps import ChatCaller, IdPath, PagingDep, RuntimeDep, parse_id
from app.api.guard import GuardedRoute
from app.api.idempotency import OnceDep, answer_with
from app.schemas.common import Page, page
from app.schemas.messages import MessageCreate, MessageOut
from app.services.sessions import session_not_found

router = APIRouter(
    prefix="/api/v1/sessions/{session_id}/messages",
    tags=["messages"],
    route_class=GuardedRoute,
    max_body_size=JSON_BYTES,
)


@router.post(
    "", status_code=status.HTTP_201_CREATED, response_model=MessageOut, operation_id="messages_create",
    summary="Store a message made elsewhere, with the passages it used",
)  # fmt: skip
async def create(
    runtime: RuntimeDep, caller: ChatCaller, once: OnceDep, session_id: IdPath, body: MessageCreate
) -> Response:
    add = partial(runtime.messages.add, session_id=parse_id(session_id, session_not_found()), request=body)

    async def read(message_id: UUID) -> MessageOut:
        return await runtime.messages.require(caller, message_id)

    return await once.answer(caller, add, _created, again=read)


def _created(message: MessageOut) -> Response:
    return answer_with(message, 201)


@router.get(
    "", operation_id="messages_list", summary="Read messages strictly by seq",
)  # fmt: skip
async def list_(
    runtime: RuntimeDep,
    caller: ChatCaller,
    session_id: IdPath,
    paging: PagingDep,
    order: Annotated[Literal["asc", "desc"], Query(description="`desc` starts with the newest.")] = "asc",
) -> Page[MessageOut]:
    id_ = parse_id(session_id, session_not_found())
    items, total, cursor = await runtime.messages.list_page(caller, id_, paging, descending=order == "desc")
    return page(items, total=total, skip=paging.skip, limit=paging.limit, next_cursor=cursor)
