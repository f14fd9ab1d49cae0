from fastapi import APIRouter, Response

from app.api.deps import RuntimeDep
from app.core.version import VERSION
from app.schemas.health import Health, Live, Ready, Root

router = APIRouter(tags=["health"])


@router.head("/", include_in_schema=False)
@router.get("/", operation_id="root", summary="Where to go from here")
async def root() -> Root:
    return Root(message="ragchat is running: answers from your own documents.", docs="/docs", status="running")


@router.head("/health", include_in_schema=False)
@router.get(
    "/health", operation_id="health", summary="Healthy or not, with the parts",
    responses={503: {"model": Health, "description": "A part that is needed is down."}},
)  # fmt: skip
async def health(runtime: RuntimeDep, response: Response) -> Health:
    report = await runtime.health.report()
    response.status_code = 200 if report.ready else 503
    return Health(
        status="healthy" if report.ready else "unhealthy",
        database="connected" if report.checks["database"] == "ok" else "disconnected",
        service="ragchat",
        version=VERSION,
        components=report.checks,
    )


@router.head("/livez", include_in_schema=False)
@router.get("/livez", operation_id="livez", summary="The process answers; nothing else is asked")
async def livez() -> Live:
    return Live(status="live")


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz", operation_id="readyz", summary="Whether requests can be served",
    responses={503: {"model": Ready, "description": "A part that is needed is down, or the server is about to stop."}},
)  # fmt: skip
async def readyz(runtime: RuntimeDep, response: Response) -> Ready:
    if runtime.health.draining:
        response.status_code = 503
        return Ready(status="draining", checks={}, degraded=[])
    report = await runtime.health.report()
    response.status_code = 200 if report.ready else 503
    return Ready(status="ready" if report.ready else "not_ready", checks=report.checks, degraded=report.degraded)
