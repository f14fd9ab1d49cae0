from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import Field

from app.api.deps import DIGITS, ChatCaller, IdPath, RuntimeDep, VersionQuery, parse_id
from app.api.downloads import send_original
from app.api.guard import GuardedRoute
from app.schemas.documents import LinkOut
from app.services.documents import document_not_found
from app.services.links import MOST_SECONDS

router = APIRouter(prefix="/api/v1", tags=["documents"], route_class=GuardedRoute)


@router.get(
    "/documents/{document_id}/link", operation_id="documents_link",
    summary="A link to the original file that needs no credentials",
)  # fmt: skip
async def link(
    runtime: RuntimeDep,
    caller: ChatCaller,
    document_id: IdPath,
    response: Response,
    seconds: Annotated[int, Field(ge=1, le=MOST_SECONDS), DIGITS, Query(description="How long it works.")] = 300,
    version: VersionQuery = None,
) -> LinkOut:
    id_ = parse_id(document_id, document_not_found())
    made = await runtime.links.create(caller, id_, version=version, seconds=seconds)
    response.headers["Cache-Control"] = "no-store"
    return LinkOut(url=made.url or f"{router.prefix}/files/{made.token}", expires_at=made.expires_at)


async def follow(request: Request, runtime: RuntimeDep, token: str) -> Response:
    return await send_original(request, await runtime.links.follow(token), runtime.documents.content)


# Nobody is asked who they are. What such an address looks like is no part of the contract.
router.add_api_route("/files/{token}", follow, route_class_override=APIRoute, include_in_schema=False)
