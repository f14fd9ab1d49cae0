"""What was used and what is left, over HTTP: the caller's own, and exact."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api.errors import add_error_handlers
from app.core.ids import new_id
from app.core.security import new_key
from app.repositories.paging import Paging
from app.services.budgets import BudgetService, Reservation, Usage, settle
from app.services.limits import Limit
from app.services.prices import PriceService
from tests.api.test_hostile_tools import check_problem
from tests.conftest import MakeTenant, Service, Tenant, make_settings, make_tenant, serving

URL = "/api/v1/usage"


async def used(tenant: Tenant, model: str, tokens: tuple[int, int], *, user_id: str = "ravi", **fields: Any) -> None:
    key_id, session_id = fields.get("key_id"), fields.get("session_id")
    reservation = Reservation(new_id(), user_id, key_id, None, model, 0)
    usage = Usage(model, *tokens, estimated=fields.get("estimated", False))
    async with tenant.runtime.uow(tenant.caller) as uow:
        await settle(uow, reservation, usage, session_id=session_id)
    if "days_ago" in fields:
        async with tenant.runtime.owner.begin() as connection:
            await connection.execute(
                text("UPDATE usage_records SET created_at = created_at - make_interval(days => :days) WHERE id = :id"),
                {"days": fields["days_ago"], "id": reservation.id},
            )


async def report(tenant: Tenant, **query: Any) -> dict[str, Any]:
    response = await tenant.http.get(URL, params=query)
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.fixture
async def model(tenant: Tenant) -> str:
    name = f"{new_id().hex}/small"
    await PriceService(tenant.runtime.uow).set(name, input_price=Decimal("0.15"), output_price=Decimal("0.6"))
    return name


async def test_nothing_was_used(tenant: Tenant) -> None:
    found = await report(tenant)
    nothing = {
        "turns": 0, "input_tokens": 0, "output_tokens": 0, "total_tokens": 0, "cost": None, "unpriced_tokens": 0,
        "estimated_turns": 0,
    }  # fmt: skip
    assert (found["items"], found["total"], found["overall"], found["group_by"]) == ([], 0, nothing, "day")
    assert found["from"].endswith("-01")
    assert found["from"] <= found["to"]
    assert (await tenant.http.get(f"{URL}/limits")).json() == {"items": []}


async def test_by_everything(tenant: Tenant, model: str) -> None:
    session, key = await tenant.session(), new_id()
    await used(tenant, model, (100, 50), session_id=session, key_id=key)
    await used(tenant, model, (1, 0), user_id="mina", key_id=key)
    await used(tenant, "unpriced", (1000, 1), user_id="mina", estimated=True)

    async def groups(by: str) -> list[tuple[Any, ...]]:
        items = (await report(tenant, group_by=by))["items"]
        return [(item["group"], item["turns"], item["total_tokens"], item["cost"]) for item in items]

    assert await groups("model") == [("unpriced", 1, 1001, None), (model, 2, 151, "0.00004515")]
    assert await groups("user") == [("mina", 2, 1002, "0.00000015"), ("ravi", 1, 150, "0.000045")]
    assert await groups("key") == [(None, 1, 1001, None), (str(key), 2, 151, "0.00004515")]
    assert await groups("session") == [(None, 2, 1002, "0.00000015"), (session, 1, 150, "0.000045")]
    [(_, turns, tokens, cost)] = await groups("day")
    assert (turns, tokens, cost) == (3, 1152, "0.00004515")
    assert (await report(tenant))["overall"] == {
        "turns": 3, "input_tokens": 1101, "output_tokens": 51, "total_tokens": 1152, "cost": "0.00004515",
        "unpriced_tokens": 1001, "estimated_turns": 1,
    }  # fmt: skip


async def test_days(tenant: Tenant) -> None:
    for days_ago in (0, 1, 40):
        await used(tenant, "m", (days_ago + 1, 0), days_ago=days_ago)
    found = await report(tenant, **{"from": "2020-01-01"})
    assert [item["total_tokens"] for item in found["items"]] == [41, 2, 1]
    days = [item["group"] for item in found["items"]]
    assert days == sorted(days)
    assert found["to"] == days[-1]
    for first, last, tokens in ((days[0], days[0], [41]), (days[1], days[2], [2, 1]), (days[0], days[1], [41, 2])):
        assert [
            item["total_tokens"] for item in (await report(tenant, **{"from": first, "to": last}))["items"]
        ] == tokens
    page = await report(tenant, **{"from": days[0], "limit": 1, "skip": 1})
    assert ([item["group"] for item in page["items"]], page["total"]) == ([days[1]], 3)
    assert (await report(tenant, to="2020-01-01"))["from"] == "2020-01-01"
    assert (await report(tenant, **{"from": "9999-12-31"}))["to"] == "9999-12-31"


@pytest.mark.parametrize(
    "query",
    ["from=2026-11-02&to=2026-11-01", "from=20261101", "from=1700000000", "to=2026-11-31", "to=2026-11-01T00:00:00Z",
     "group_by=colour", "limit=0", "cursor=abc", "from=", "to=0000-01-01"],
)  # fmt: skip
async def test_what_cannot_be_asked(tenant: Tenant, query: str) -> None:
    check_problem(await tenant.http.get(f"{URL}?{query}"), 400)


async def test_nobody_sees_what_others_used(tenant: Tenant, new_tenant: MakeTenant) -> None:
    await used(tenant, "m", (10, 0))
    await used(tenant, "m", (5, 0), user_id="mina")
    other = await new_tenant()
    for by in ("day", "model", "user", "key", "session"):
        found = await report(other, group_by=by)
        assert (found["items"], found["overall"]["turns"]) == ([], 0)
    mina = replace(tenant.caller, user_id="mina")
    mine = await tenant.runtime.usage.report(mina, Paging(), group_by="user")
    assert [(item.group, item.total_tokens) for item in mine.items] == [("mina", 5)]
    assert mine.overall.turns == 1


async def test_a_key_for_uploads_sees_nothing(tenant: Tenant) -> None:
    key = new_key()
    await make_tenant(tenant.runtime, new_id(), key, scopes=("ingest",))
    async with tenant.service.client(key) as http:
        for path in (URL, f"{URL}/limits"):
            check_problem(await http.get(path), 403, "forbidden")


async def test_limits(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = make_settings(
        database_url=database_url, data_dir=tmp_path_factory.mktemp("limits"), budget_tokens_per_day=1000,
        budget_tokens_per_month=5000, budget_cost_per_month="2.5", budget_user_tokens_per_day=100,
        budget_key_tokens_per_month=4000, worker_in_process=False,
    )  # fmt: skip
    async with serving(settings) as (address, runtime):
        service = Service(address, runtime)
        caller, key = await service.tenant()
        async with service.client(key) as http:
            tenant = Tenant(service, caller, key, http)
            await used(tenant, "m", (30, 10))
            await runtime.budgets.reserve(
                caller, "ravi", turn_id=new_id(), models=["m"], input_tokens=20, max_tokens=30
            )
            plain = (await http.get(f"{URL}/limits")).json()["items"]
            with_user = (await http.get(f"{URL}/limits", params={"user_id": "ravi"})).json()["items"]
            check_problem(await http.get(f"{URL}/limits", params={"user_id": "\u200b"}), 400, "empty_content")
    assert [(item["scope"], item["period"]) for item in plain] == [
        ("tenant", "day"), ("tenant", "month"), ("key", "month"),
    ]  # fmt: skip
    assert plain[0]["tokens"] == {"limit": 1000, "used": 40, "reserved": 50, "left": 910}
    assert plain[0]["cost"] is None
    assert plain[1]["cost"] == {"limit": "2.5", "used": "0", "reserved": "0", "left": "2.5"}
    assert plain[2]["tokens"]["used"] == 0
    assert plain[0]["resets_at"].endswith("T00:00:00Z")
    assert plain[1]["resets_at"].endswith("-01T00:00:00Z")
    [user] = [item for item in with_user if item["scope"] == "user"]
    assert (user["scope_id"], user["tokens"]["left"]) == ("ravi", 10)


async def test_a_used_up_budget_is_429_with_the_time_to_wait(tenant: Tenant) -> None:
    budgets = BudgetService(tenant.runtime.uow, [Limit("tenant", "day", "tokens", Decimal(40))])
    await used(tenant, "m", (30, 10))
    app = FastAPI()
    add_error_handlers(app)

    @app.post("/ask")
    async def ask() -> None:
        await budgets.reserve(tenant.caller, "ravi", turn_id=new_id(), models=["m"], input_tokens=1, max_tokens=1)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as http:
        refused = await http.post("/ask")
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert "T00:00:00Z" in refused.json()["detail"]
