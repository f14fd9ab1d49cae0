"""API keys over HTTP: shown once, scoped, expiring, revoked (H2, H12, H20, H21)."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from app.core.errors import Unauthorized
from app.core.tokens import Tokens
from app.schemas.common import Request
from app.services import auth
from tests.api import people
from tests.api import test_hostile_tools as tools
from tests.api.people import Join
from tests.api.test_hostile_tools import CANARY, check_problem
from tests.conftest import JWT_SECRET, MakeTenant, Tenant

join, edge, unharmed = people.join, tools.edge, tools.unharmed
KEYS = "/api/v1/api-keys"
SESSIONS = "/api/v1/sessions"


async def make(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    response = await tenant.http.post(KEYS, json={"name": "bot", "scopes": ["chat"]} | fields)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    return dict(response.json())


async def status(tenant: Tenant, key: str, method: str = "GET", path: str = SESSIONS) -> int:
    async with tenant.service.client(key) as http:
        return (await http.request(method, path)).status_code


async def sql(tenant: Tenant, statement: str, **values: Any) -> Any:
    async with tenant.runtime.owner.begin() as connection:
        return await connection.execute(text(statement), values)


async def test_a_key_is_shown_once_and_works(new_tenant: MakeTenant, join: Join) -> None:
    tenant = await new_tenant()
    admin = await join(tenant, "admin")
    made = await make(admin.as_tenant, expires_at="2990-01-01T05:30:00+05:30")
    assert made["key"].startswith("rgc_")
    assert made["prefix"] == made["key"][:8]
    assert (made["created_by"], made["expires_at"]) == (admin.id, "2990-01-01T00:00:00Z")
    assert await status(tenant, made["key"]) == 200
    listed = (await admin.http.get(KEYS)).json()
    assert listed["total"] == 2  # the tenant's first one, too
    assert [one["name"] for one in listed["items"]] == ["bot", "API_KEY"]
    assert "key" not in listed["items"][0]
    assert made["key"] not in str(listed)
    stored = (await sql(tenant, "SELECT CAST(k AS text) FROM api_keys k")).scalars().all()
    assert not any(made["key"] in row or made["key"].encode().hex() in row for row in stored)


async def test_scopes_are_what_it_can_do(new_tenant: MakeTenant) -> None:
    tenant = await new_tenant()
    chat, ingest = await make(tenant, scopes=["chat"]), await make(tenant, scopes=["ingest", "ingest"])
    assert ingest["scopes"] == ["ingest"]
    assert [await status(tenant, key["key"]) for key in (chat, ingest)] == [200, 403]
    for key in (chat, ingest):
        assert await status(tenant, key["key"], path=KEYS) == 403
        assert await status(tenant, key["key"], "DELETE", f"{KEYS}/{chat['id']}") == 403


async def test_who_adds_a_document_may_follow_it_and_not_read_it(new_tenant: MakeTenant) -> None:
    tenant = await new_tenant()
    key = (await make(tenant, scopes=["ingest"]))["key"]
    async with tenant.service.client(key) as http:
        added = await http.post("/api/v1/documents", json={"title": "Hours", "text": "We are open from 9 to 6."})
        place = added.headers["location"]
        await tenant.ended(added.json()["id"])
        assert (await http.get(place)).json()["status"] == "ready"
        assert (await http.get("/api/v1/documents")).json()["total"] == 1
        assert "event: ready" in (await http.get(f"{place}/events")).text
        for path in (f"{place}/chunks", f"{place}/content"):
            check_problem(await http.get(path), 403, "forbidden")
        check_problem(await http.post("/api/v1/search", json={"query": "hours"}), 403, "forbidden")


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": []}, {"scopes": ["root"]}, {"scopes": "chat"}, {"name": ""}, {"name": " \u200b"},
        {"name": "x" * 201},
        {"name": "API_KEY"}, {"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": "2990-01-01T00:00:00"},
        {"expires_at": "soon"}, {"tenant_id": "8c8f3a3e-5f3c-7cde-9a10-3b1f2c4d5e6f"}, {"key": "rgc_own"},
        {"key_hash": "x"}, {"created_by": "8c8f3a3e-5f3c-7cde-9a10-3b1f2c4d5e6f"}, {"name": "a\0"},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_key(edge: Tenant, fields: dict[str, Any]) -> None:
    response = await edge.http.post(KEYS, json={"name": "bot", "scopes": ["chat"]} | fields)
    check_problem(response, 400)


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("9999-12-31T23:59:59-12:00", "invalid_value"), ("0001-01-01T00:00:00+12:00", "invalid_value"),
        ("2990-01-01T00:00:00", "invalid_value"), ("2990-01-01", "invalid_value"), ("32188147200", "invalid_value"),
        ("2990-02-30T00:00:00Z", "invalid_value"), ("2990-01-01T00:00Z", "invalid_value"), ("soon", "invalid_value"),
        ("29900101T000000Z", "invalid_value"), ("2990-W01-1T00:00:00Z", "invalid_value"),
        (" 2990-01-01T00:00:00Z", "invalid_value"),
        ("٢٩٩٠-01-01T00:00:00Z", "invalid_value"), ("2990-01-01T00:00:00+00", "invalid_value"), ("", "invalid_value"),
        (32188147200, "wrong_type"), (32188147200.5, "wrong_type"), (True, "wrong_type"), ([], "wrong_type"),
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_moment(edge: Tenant, moment: Any, code: str) -> None:
    response = await edge.http.post(KEYS, json={"name": "bot", "scopes": ["chat"], "expires_at": moment})
    problem = check_problem(response, 400)
    assert (problem["errors"][0]["pointer"], problem["errors"][0]["code"]) == ("/expires_at", code)


@pytest.mark.parametrize(
    ("moment", "read"),
    [
        ("2990-01-01T05:30:00+05:30", "2990-01-01T00:00:00Z"),
        ("2990-01-01t00:00:00.25z", "2990-01-01T00:00:00.250000Z"),
        ("2990-01-01 00:00:00-00:00", "2990-01-01T00:00:00Z"), ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ],
)  # fmt: skip
async def test_moments(new_tenant: MakeTenant, moment: str, read: str) -> None:
    assert (await make(await new_tenant(), expires_at=moment))["expires_at"] == read


def test_no_other_field_of_a_request_takes_a_time() -> None:
    """One that does takes it as a `Moment`, and is added here."""
    times = [
        f"{model.__name__}.{name}" for model in _requests(Request)
        for name, field in model.model_json_schema().get("properties", {}).items() if "date-time" in str(field)
    ]  # fmt: skip
    assert times == ["ApiKeyCreate.expires_at"]


def _requests(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in model.__subclasses__():
        yield each
        yield from _requests(each)


async def test_an_expired_one_is_none(new_tenant: MakeTenant) -> None:
    tenant = await new_tenant()
    made = await make(tenant, expires_at="2990-01-01T00:00:00Z")
    await sql(tenant, "UPDATE api_keys SET expires_at = now() WHERE id = :id", id=made["id"])
    assert await status(tenant, made["key"]) == 401
    assert made["id"] in str((await tenant.http.get(KEYS)).json())


async def test_a_revoked_one_ends_at_once_here_and_within_seconds_elsewhere(new_tenant: MakeTenant) -> None:
    tenant = await new_tenant()
    made = await make(tenant)
    elsewhere = auth.AuthService(tenant.runtime.uow, Tokens(JWT_SECRET, seconds=60))
    await elsewhere.authenticate(made["key"].encode())
    assert await status(tenant, made["key"]) == 200
    assert (await tenant.http.delete(f"{KEYS}/{made['id']}")).status_code == 204
    assert await status(tenant, made["key"]) == 401
    async with asyncio.timeout(5):
        while await _is_let_in(elsewhere, made["key"]):
            await asyncio.sleep(0.1)
    check_problem(await tenant.http.delete(f"{KEYS}/{made['id']}"), 404, "key_not_found")
    assert made["id"] not in str((await tenant.http.get(KEYS)).json())


async def _is_let_in(service: auth.AuthService, key: str) -> bool:
    try:
        await service.authenticate(key.encode())
    except Unauthorized:
        return False
    return True


async def test_the_key_of_the_settings_is_changed_there(new_tenant: MakeTenant) -> None:
    tenant = await new_tenant()
    [own] = (await tenant.http.get(KEYS)).json()["items"]
    check_problem(await tenant.http.delete(f"{KEYS}/{own['id']}"), 409, "settings_key")
    assert await status(tenant, tenant.key) == 200


async def test_last_use_is_noted_once_a_minute(new_tenant: MakeTenant) -> None:
    tenant = await new_tenant()
    made = await make(tenant)
    assert made["last_used_at"] is None
    moments = []
    for _ in range(2):
        assert await status(tenant, made["key"]) == 200
        tenant.runtime.auth.forget(UUID(made["id"]))
        moments.append((await tenant.http.get(KEYS)).json()["items"][0]["last_used_at"])
    assert moments[0] is not None
    assert moments[1] == moments[0]
    await sql(tenant, "UPDATE api_keys SET last_used_at = now() - interval '61 seconds' WHERE id = :id", id=made["id"])
    assert await status(tenant, made["key"]) == 200
    assert (await tenant.http.get(KEYS)).json()["items"][0]["last_used_at"] > moments[0]


async def test_a_repeated_request_gives_the_same_key_which_is_stored_nowhere(new_tenant: MakeTenant) -> None:
    tenant = await new_tenant()
    body, headers = {"name": "bot", "scopes": ["chat"]}, {"Idempotency-Key": f"k-{CANARY}"}
    made = await tenant.http.post(KEYS, json=body, headers=headers)
    assert await status(tenant, made.json()["key"]) == 200
    again = await tenant.http.post(KEYS, json=body, headers=headers)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    found = await sql(
        tenant, "SELECT body, headers FROM idempotency_keys WHERE tenant_id = :t", t=tenant.caller.tenant_id
    )
    assert [tuple(row) for row in found] == [(None, None)]
    other = await tenant.http.post(KEYS, json=body, headers={"Idempotency-Key": "another"})
    assert other.json()["key"] != made.json()["key"]
    assert (await tenant.http.delete(made.headers["location"])).status_code == 204
    check_problem(await tenant.http.post(KEYS, json=body, headers=headers), 404, "gone")


async def test_there_is_a_bound(new_tenant: MakeTenant) -> None:
    tenant = await new_tenant()
    await sql(
        tenant,
        "INSERT INTO api_keys (id, tenant_id, name, prefix, key_hash, scopes) "
        "SELECT gen_random_uuid(), :t, 'many', 'x', sha256(CAST(gen_random_uuid() AS text)::bytea), ARRAY['chat'] "
        "FROM generate_series(1, 199)",
        t=tenant.caller.tenant_id,
    )
    check_problem(await tenant.http.post(KEYS, json={"name": "one more", "scopes": ["chat"]}), 409, "too_many_keys")
