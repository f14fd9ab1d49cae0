from fastapi import APIRouter

from app.api.bodies import JSON_BYTES
from app.api.deps import ChatCaller, RuntimeDep
from app.api.guard import GuardedRoute
from app.schemas.search import SearchRequest, SearchResponse

router = APIRouter(prefix="/api/v1/search", tags=["search"], route_class=GuardedRoute, max_body_size=JSON_BYTES)


@router.post("", operation_id="search_run", summary="Find passages by meaning and by words")
async def run(runtime: RuntimeDep, caller: ChatCaller, body: SearchRequest) -> SearchResponse:
    return await runtime.retrieval.search(caller, body)
