from typing import Annotated

from fastapi import APIRouter, Query

from app.api.deps import ChatCaller, PagingDep, RuntimeDep
from app.api.guard import GuardedRoute
from app.schemas.sessions import UserId
from app.schemas.usage import Day, GroupBy, LimitsOut, UsageReport

router = APIRouter(prefix="/api/v1/usage", tags=["usage"], route_class=GuardedRoute)


@router.get("", operation_id="usage_report", summary="Tokens and cost by day, model, user, key or session")
async def report(
    runtime: RuntimeDep,
    caller: ChatCaller,
    paging: PagingDep,
    group_by: GroupBy = "day",
    since: Annotated[Day | None, Query(alias="from", description="In UTC. Default: the first of the month.")] = None,
    until: Annotated[Day | None, Query(alias="to", description="Included. Default: today.")] = None,
) -> UsageReport:
    return await runtime.usage.report(caller, paging, group_by=group_by, since=since, until=until)


@router.get("/limits", operation_id="usage_limits", summary="What is left of the limits, and when they begin anew")
async def limits(
    runtime: RuntimeDep,
    caller: ChatCaller,
    user_id: Annotated[UserId | None, Query(description="With a key: this user's limits, too.")] = None,
) -> LimitsOut:
    return LimitsOut(items=await runtime.budgets.left(caller, user_id))
