from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from app.api.deps import CallerDep, RuntimeDep
from app.api.guard import GuardedRoute
from app.services.logins import require_user

router = APIRouter(prefix="/api/v1", tags=["privacy"], route_class=GuardedRoute)


@router.get(
    "/auth/me/export", operation_id="auth_export_me", summary="Everything that is stored about me",
    response_class=Response, responses={200: {"content": {"application/json": {}}}},
)  # fmt: skip
async def export(runtime: RuntimeDep, caller: CallerDep) -> Response:
    pieces = await runtime.personal_data.exports.begin(caller, str(require_user(caller)))
    headers = {"Content-Disposition": 'attachment; filename="export.json"', "Cache-Control": "no-store"}
    return StreamingResponse(pieces, media_type="application/json", headers=headers)
