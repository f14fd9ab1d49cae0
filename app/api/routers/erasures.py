from typing import Annotated

from fastapi import APIRouter, Path, Response, status

from app.api.deps import AdminCaller, CallerDep, PagingDep, RuntimeDep
from app.api.guard import GuardedRoute, OpenRoute
from app.schemas.common import Page, page
from app.schemas.erasures import ErasureOut, ErasureRequested
from app.services.erasures import Requested, erasure_out
from app.services.logins import require_user

router = APIRouter(prefix="/api/v1", tags=["privacy"], route_class=GuardedRoute)
User = Annotated[
    str, Path(max_length=255, description="The id of a user here, or the name that the calling system gave its own.")
]

Address = Annotated[str, Path(max_length=255, description="As `receipt_url` gave it.")]


@router.delete(
    "/auth/me", status_code=status.HTTP_202_ACCEPTED, operation_id="auth_erase_me",
    summary="Erase me: account, conversations, documents",
)  # fmt: skip
async def erase_me(runtime: RuntimeDep, caller: CallerDep, response: Response) -> ErasureRequested:
    return _accepted(
        response, await runtime.personal_data.erasures.request(caller, str(require_user(caller)), by="self")
    )


@router.delete(
    "/users/{user_id:path}", status_code=status.HTTP_202_ACCEPTED, operation_id="users_erase",
    summary="Erase a user: account, conversations, documents",
)  # fmt: skip
async def erase(runtime: RuntimeDep, caller: AdminCaller, user_id: User, response: Response) -> ErasureRequested:
    return _accepted(response, await runtime.personal_data.erasures.request(caller, user_id, by="admin"))


def _accepted(response: Response, requested: Requested) -> ErasureRequested:
    out = erasure_out(requested.erasure)
    url = f"{router.prefix}/erasures/{requested.receipt}" if requested.receipt else None
    response.headers["Cache-Control"] = "no-store"
    if url is not None:
        response.headers["Location"] = url
    return ErasureRequested(**out.model_dump(), receipt_url=url)


@router.get("/erasures", operation_id="erasures_list", summary="List erasures, newest first")
async def list_(runtime: RuntimeDep, caller: AdminCaller, paging: PagingDep) -> Page[ErasureOut]:
    rows, total, cursor = await runtime.personal_data.erasures.list_page(caller, paging)
    items = [erasure_out(row) for row in rows]
    return page(items, total=total, skip=paging.skip, limit=paging.limit, next_cursor=cursor)


async def receipt(runtime: RuntimeDep, address: Address, response: Response) -> ErasureOut:
    response.headers["Cache-Control"] = "no-store"
    return erasure_out(await runtime.personal_data.erasures.receipt(address))


# Nobody is asked who they are: whoever was erased cannot say it any more. The address is the secret.
router.add_api_route(
    "/erasures/{address}", receipt, route_class_override=OpenRoute, operation_id="erasures_receipt",
    summary="What was erased: counts. Whoever has this address was given it",
)  # fmt: skip
