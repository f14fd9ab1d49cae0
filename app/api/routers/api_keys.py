from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response, status

from app.api.bodies import JSON_BYTES
from app.api.deps import AdminCaller, IdPath, PagingDep, RuntimeDep, parse_id
from app.api.guard import GuardedRoute
from app.api.idempotency import OnceDep, answer_with
from app.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyOut
from app.schemas.common import Page, page
from app.services.api_keys import key_not_found

router = APIRouter(prefix="/api/v1/api-keys", tags=["api keys"], route_class=GuardedRoute, max_body_size=JSON_BYTES)


@router.post(
    "", status_code=status.HTTP_201_CREATED, response_model=ApiKeyCreated, operation_id="api_keys_create",
    summary="Make an API key; it is shown this once",
)  # fmt: skip
async def create(runtime: RuntimeDep, caller: AdminCaller, once: OnceDep, body: ApiKeyCreate) -> Response:
    async def again(key_id: UUID) -> ApiKeyCreated:
        return await runtime.accounts.api_keys.repeated(caller, key_id, once.key)

    return await once.answer(caller, partial(runtime.accounts.api_keys.create, request=body), _created, again=again)


def _created(key: ApiKeyCreated) -> Response:
    return answer_with(key, 201, Location=f"/api/v1/api-keys/{key.id}", Cache_Control="no-store")


@router.get("", operation_id="api_keys_list", summary="List API keys, newest first")
async def list_(runtime: RuntimeDep, caller: AdminCaller, paging: PagingDep) -> Page[ApiKeyOut]:
    items, total, cursor = await runtime.accounts.api_keys.list_page(caller, paging)
    return page(items, total=total, skip=paging.skip, limit=paging.limit, next_cursor=cursor)


@router.delete(
    "/{key_id}", status_code=status.HTTP_204_NO_CONTENT, operation_id="api_keys_revoke", summary="Revoke an API key"
)
async def revoke(runtime: RuntimeDep, caller: AdminCaller, key_id: IdPath) -> None:
    await runtime.accounts.api_keys.revoke(caller, parse_id(key_id, key_not_found()))
