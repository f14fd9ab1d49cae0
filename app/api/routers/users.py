from typing import Annotated

from fastapi import APIRouter, Query

from app.api.bodies import JSON_BYTES
from app.api.deps import AdminCaller, IdPath, PagingDep, RuntimeDep, parse_id
from app.api.guard import GuardedRoute
from app.schemas.common import Page, page
from app.schemas.users import Keys, UserOut, UserUpdate
from app.services.users import user_not_found

KeysQuery = Annotated[
    Keys,
    Query(
        description="What becomes of the API keys that the user made, when the request disables them or makes them a "
        "`user`: `revoke` ends the keys within seconds, with `keep` programs go on."
    ),
]
router = APIRouter(prefix="/api/v1/users", tags=["users"], route_class=GuardedRoute, max_body_size=JSON_BYTES)


@router.get("", operation_id="users_list", summary="List users, newest first")
async def list_(runtime: RuntimeDep, caller: AdminCaller, paging: PagingDep) -> Page[UserOut]:
    items, total, cursor = await runtime.accounts.users.list_page(caller, paging)
    return page(items, total=total, skip=paging.skip, limit=paging.limit, next_cursor=cursor)


@router.get("/{user_id}", operation_id="users_get", summary="Read a user")
async def get(runtime: RuntimeDep, caller: AdminCaller, user_id: IdPath) -> UserOut:
    return await runtime.accounts.users.get(caller, parse_id(user_id, user_not_found()))


@router.patch("/{user_id}", operation_id="users_update", summary="Change role or name, disable or enable")
async def update(
    runtime: RuntimeDep, caller: AdminCaller, user_id: IdPath, body: UserUpdate, keys: KeysQuery = "revoke"
) -> UserOut:
    return await runtime.accounts.users.update(caller, parse_id(user_id, user_not_found()), body, keys=keys)
