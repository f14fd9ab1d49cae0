"""The audit log: written with what it tells, without content, and by nobody changed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL

from app.core.audit import ACTIONS, network_of
from app.core.caller import DEFAULT_TENANT, tenant_caller
from app.core.ids import new_id
from app.core.security import new_key
from app.core.settings import Settings
from app.services.retention import RetentionService, Terms
from tests.conftest import ROOT, Service, Tenant, make_database, make_settings, serving
from tests.integration.processes import spelled

TENANT = new_id()
WRITE = f"INSERT INTO audit_log (id, tenant_id, actor, action) VALUES ($1, '{TENANT}', 'service', 'login')"
OLD = """
ALTER TABLE audit_log DISABLE TRIGGER audit_log_stamp;
INSERT INTO audit_log (id, tenant_id, actor, action, at)
SELECT gen_random_uuid(), gen_random_uuid(), 'service', 'login', now() - make_interval(days => d)
FROM unnest(ARRAY[10, 364, 366, 400, 800]) AS d;
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_stamp;
"""


@pytest.fixture(scope="module")
async def alone(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Service, Settings]]:
    """A service with a database that no other test writes to."""
    url, folder = await make_database(postgres, "test_audit"), tmp_path_factory.mktemp("data")
    settings = make_settings(database_url=url, data_dir=folder, api_key=new_key(), worker_in_process=False)
    async with serving(settings) as (address, runtime):
        yield Service(address, runtime), settings


@pytest.fixture(scope="module")
def url(alone: tuple[Service, Settings]) -> str:
    return alone[1].database_url.get_secret_value()


@pytest.fixture
async def owner(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(spelled(url, "postgresql"))
    yield connection
    await connection.close()


@pytest.fixture
async def application(owner: asyncpg.Connection) -> asyncpg.Connection:
    """The same connection, as the role of the application, for a tenant."""
    await owner.execute(OLD)
    await owner.execute(f"SET ROLE ragchat_app; SET app.tenant_id = '{TENANT}'")
    return owner


CHANGES = ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log"]


@pytest.mark.parametrize("change", CHANGES)
async def test_the_applications_role_cannot_change_it(application: asyncpg.Connection, change: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.execute(change)
    await application.execute(WRITE, new_id())


@pytest.mark.parametrize("change", [*CHANGES, "DELETE FROM audit_log WHERE at < now() - interval '364 days'"])
@pytest.mark.parametrize("as_replica", [False, True])
async def test_its_owner_cannot_either(owner: asyncpg.Connection, change: str, as_replica: bool) -> None:
    """Not by mistake, and not in a session that skips ordinary triggers."""
    await owner.execute(OLD)
    if as_replica:
        await owner.execute("SET session_replication_role = replica")
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
        await owner.execute(change)
    assert "append-only" in str(refused.value)


async def test_the_time_is_the_databases_whatever_the_writer_says(application: asyncpg.Connection) -> None:
    id_ = new_id()
    await application.execute(
        "INSERT INTO audit_log (id, tenant_id, actor, action, at) VALUES ($1, $2, 'a', 'login', '2001-01-01')",
        *(id_, TENANT),
    )
    assert await application.fetchval("SELECT now() - at < interval '1 minute' FROM audit_log WHERE id = $1", id_)


@pytest.mark.parametrize("days", [-1, 0, 1, 364])
async def test_the_purge_takes_nothing_younger_than_a_year(
    application: asyncpg.Connection, owner: asyncpg.Connection, days: int
) -> None:
    purge = "SELECT audit_log_purge($1, 1000000)"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):  # only where the service acts for all tenants
        await application.fetchval(purge, days)
    await owner.execute("SET ROLE ragchat_system")
    await owner.fetchval(purge, days)
    await owner.execute("RESET ROLE")
    ages = await owner.fetch("SELECT extract(day FROM now() - at)::int AS days FROM audit_log")
    kept = {row["days"] for row in ages}
    assert {10, 364} <= kept
    assert max(kept) <= 365


async def test_it_is_written_with_what_it_tells_or_not_at_all(tenant: Tenant) -> None:
    runtime, session = tenant.runtime, await tenant.session()
    with pytest.raises(ValueError, match="the rest failed"):
        async with runtime.uow(tenant.caller) as uow:
            await uow.audit.record("session.delete", "session", session)
            raise ValueError("the rest failed")
    assert await entries(tenant) == []
    await tenant.http.delete(f"/api/v1/sessions/{session}")
    assert [entry["object_id"] for entry in await entries(tenant)] == [session]


async def entries(tenant: Tenant) -> list[dict[str, Any]]:
    """Oldest first."""
    async with tenant.runtime.uow(tenant.caller) as uow:
        found = await uow.audit.list_newest(user_id=None, object_id=None, action=None, since=None, limit=100)
    names = ("actor", "action", "object_type", "object_id", "outcome", "ip", "request_id")
    return [{name: getattr(entry, name) for name in names} for entry in reversed(found)]


CANARY = "Plovertine"


async def test_what_a_key_does(tenant: Tenant) -> None:
    session = await tenant.session(title=CANARY, user_id=f"{CANARY}@harbour.example")
    document = (await tenant.add_text(f"{CANARY} is a word.", title=CANARY))["id"]
    webhook = (await tenant.http.post("/api/v1/webhooks", json={"url": f"https://{CANARY}.invalid/"})).json()["id"]
    key = (await tenant.http.post("/api/v1/api-keys", json={"name": CANARY, "scopes": ["chat"]})).json()["id"]
    for method, path in (
        ("POST", f"documents/{document}/reindex"), ("DELETE", f"webhooks/{webhook}"), ("DELETE", f"api-keys/{key}"),
        ("DELETE", f"users/{CANARY}@harbour.example"), ("DELETE", f"documents/{document}"),
    ):  # fmt: skip
        headers = {"X-Request-ID": f"{method}-1"}
        response = await tenant.http.request(method, f"/api/v1/{path}", headers=headers)
        assert response.status_code in (200, 202, 204), response.text
    async with asyncio.timeout(20):
        while (found := await entries(tenant))[-1]["action"] != "user.erased":
            await asyncio.sleep(0.05)
    assert {(entry["action"], entry["object_type"]) for entry in found} == {
        ("webhook.create", "webhook"), ("key.create", "key"), ("document.reindex", "document"),
        ("webhook.delete", "webhook"), ("key.revoke", "key"), ("user.erase", "user"), ("document.delete", "document"),
        ("user.erased", "user"),
    }  # fmt: skip
    by_hand = [entry for entry in found if entry["action"] != "user.erased"]
    assert {entry["actor"].partition(":")[0] for entry in by_hand} == {"key"}
    assert {str(entry["ip"]) for entry in by_hand} == {"127.0.0.0/24"}
    assert {entry["request_id"] for entry in by_hand} >= {"POST-1", "DELETE-1"}
    erased = next(entry for entry in found if entry["action"] == "user.erased")
    assert (erased["actor"], erased["ip"], erased["request_id"]) == ("service", None, None)
    assert erased["object_id"].startswith("sha256:")
    assert CANARY.lower() not in str(found).lower()
    assert session not in str(found)


async def test_what_people_do(alone: tuple[Service, Settings]) -> None:
    service, settings = alone
    key = settings.api_key.get_secret_value()
    async with service.client() as http, service.client(key) as operator:
        person = {"email": "plovertine@harbour.example", "password": "correct horse battery"}
        id_ = (await http.post("/api/v1/auth/register", json=person)).json()["id"]
        for email in (person["email"], "nobody@harbour.example"):
            wrong = {"email": email, "password": "wrong horse battery"}
            assert (await http.post("/api/v1/auth/login", json=wrong)).status_code == 401
        tokens = (await http.post("/api/v1/auth/login", json=person)).json()
        refresh = {"refresh_token": tokens["refresh_token"]}
        assert (await http.post("/api/v1/auth/refresh", json=refresh)).status_code == 200
        assert (await http.post("/api/v1/auth/refresh", json=refresh)).status_code == 401
        tokens = (await http.post("/api/v1/auth/login", json=person)).json()
        http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        assert (await http.get("/api/v1/auth/me/export")).status_code == 200
        assert (await http.post("/api/v1/auth/logout")).status_code == 204
        for change in ({"disabled": True}, {"disabled": False}, {"role": "admin"}):
            assert (await operator.patch(f"/api/v1/users/{id_}", json=change)).status_code == 200
        found = await entries(Tenant(service, tenant_caller(DEFAULT_TENANT), key, http))
    mine = [entry for entry in found if entry["object_type"] == "user" and entry["object_id"] in (id_, None)]
    assert [(entry["action"], entry["outcome"], entry["actor"].partition(":")[0]) for entry in mine] == [
        ("register", "ok", "anonymous"), ("login", "failed", "anonymous"), ("login", "failed", "anonymous"),
        ("login", "ok", "user"), ("token.reuse", "refused", "anonymous"), ("login", "ok", "user"),
        ("user.export", "ok", "user"), ("logout", "ok", "user"), ("user.disable", "ok", "key"),
        ("user.enable", "ok", "key"), ("user.role", "ok", "key"),
    ]  # fmt: skip
    assert "plovertine" not in str(found)


def test_addresses_lose_what_tells_one_from_another() -> None:
    assert network_of("203.0.113.77") == "203.0.113.0/24"
    assert network_of("2001:db8:1234:5678::1") == "2001:db8:1234::/48"
    assert network_of("::ffff:203.0.113.77") == "203.0.113.0/24"
    assert network_of("fe80::1%eth0") == "fe80::/48"
    assert network_of(None) is None
    assert network_of("testclient") is None


async def test_the_setting_decides_beyond_a_year(owner: asyncpg.Connection, alone: tuple[Service, Settings]) -> None:
    await owner.execute(OLD)
    young = "SELECT count(*) FROM audit_log WHERE at > now() - interval '700 days'"
    kept = await owner.fetchval(young)
    uow = alone[0].runtime.uow
    assert (await RetentionService(uow, Terms(audit=700), compact=none).purge())["audit_log"] >= 1
    assert await owner.fetchval(young) == await owner.fetchval("SELECT count(*) FROM audit_log") == kept


async def none() -> int:
    return 0


def test_every_action_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "privacy-operations.md").read_text()
    assert [action for action in ACTIONS if f"`{action}`" not in text] == []
