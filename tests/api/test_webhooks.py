import asyncio
import base64
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import URL

from app.core.caller import tenant_caller
from app.core.ids import new_id
from app.core.security import new_key
from tests.api.test_hostile_tools import CANARY, check_problem, watched_logs
from tests.conftest import MakeTenant, Service, Tenant, make_database, make_settings, make_tenant, serving
from tests.unit.providers.test_targets import IMPOSSIBLE, PRIVATE

WEBHOOKS = "/api/v1/webhooks"
URL_OF_OTHERS = "https://1.1.1.1/hook"
BOTH = ["document.ready", "document.failed"]


async def create(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    response = await tenant.http.post(WEBHOOKS, json={"url": URL_OF_OTHERS} | fields)
    assert response.status_code == 201, response.text
    return dict(response.json())


class TestCreate:
    async def test_answers_201_with_the_secret(self, tenant: Tenant) -> None:
        response = await tenant.http.post(WEBHOOKS, json={"url": URL_OF_OTHERS})
        made = response.json()
        assert response.status_code == 201
        assert response.headers["location"] == f"{WEBHOOKS}/{made['id']}"
        assert response.headers["cache-control"] == "no-store"
        assert (made["url"], made["events"]) == (URL_OF_OTHERS, BOTH)
        assert [made[f"last_{name}"] for name in ("status", "error", "attempt_at")] == [None] * 3
        assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made["secret"])
        assert 24 <= len(base64.b64decode(made["secret"].removeprefix("whsec_"), validate=True)) <= 64

    async def test_secrets_differ(self, tenant: Tenant) -> None:
        assert (await create(tenant))["secret"] != (await create(tenant))["secret"]

    async def test_events_are_kept_once(self, tenant: Tenant) -> None:
        twice = ["document.failed", "document.failed"]
        assert (await create(tenant, events=twice))["events"] == ["document.failed"]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/url"),
            ({"url": 5}, "/url"),
            ({"url": "https://1.1.1.1/" + "a" * 2048}, "/url"),
            ({"url": URL_OF_OTHERS + "\0"}, "/url"),
            ({"url": URL_OF_OTHERS, "events": []}, "/events"),
            ({"url": URL_OF_OTHERS, "events": ["document.gone"]}, "/events/0"),
            ({"url": URL_OF_OTHERS, "events": "document.ready"}, "/events"),
            ({"url": URL_OF_OTHERS, "secret": "whsec_AAAA"}, "/secret"),
        ],
    )
    async def test_bad_bodies_are_refused(self, tenant: Tenant, body: dict[str, Any], pointer: str) -> None:
        problem = check_problem(await tenant.http.post(WEBHOOKS, json=body), 400)
        assert [error["pointer"] for error in problem["errors"]] == [pointer]

    @pytest.mark.parametrize("host", PRIVATE)
    async def test_private_addresses_are_refused(self, tenant: Tenant, host: str) -> None:
        response = await tenant.http.post(WEBHOOKS, json={"url": f"http://{host}/{CANARY}"})
        problem = check_problem(response, 400, "webhook_target_refused")
        assert problem["errors"][0]["pointer"] == "/url"

    @pytest.mark.parametrize("url", IMPOSSIBLE, ids=repr)
    async def test_what_is_no_plain_web_address_is_refused(self, tenant: Tenant, url: str) -> None:
        check_problem(await tenant.http.post(WEBHOOKS, json={"url": url}), 400, "webhook_target_refused")
        assert (await tenant.http.get(WEBHOOKS)).json()["total"] == 0

    async def test_the_twenty_first_is_refused_also_when_several_come_at_once(self, tenant: Tenant) -> None:
        for _ in range(19):
            await create(tenant)
        await asyncio.gather(*(tenant.http.get(WEBHOOKS) for _ in range(8)))  # as many connections to the database
        answers = await asyncio.gather(*(tenant.http.post(WEBHOOKS, json={"url": URL_OF_OTHERS}) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
        check_problem(next(answer for answer in answers if answer.status_code == 409), 409, "too_many_webhooks")
        assert (await tenant.http.get(WEBHOOKS)).json()["total"] == 20


class TestRead:
    async def test_the_secret_is_shown_once(self, tenant: Tenant) -> None:
        with watched_logs() as (events, records):
            made = await create(tenant)
            one = await tenant.http.get(f"{WEBHOOKS}/{made['id']}")
            all_ = await tenant.http.get(WEBHOOKS)
        assert one.json() == {name: value for name, value in made.items() if name != "secret"}
        assert all_.json()["items"] == [one.json()]
        assert "whsec_" not in one.text + all_.text + repr(events) + repr(records)

    async def test_newest_first_in_pages(self, tenant: Tenant) -> None:
        ids = [(await create(tenant))["id"] for _ in range(5)]
        first = (await tenant.http.get(WEBHOOKS, params={"limit": 2})).json()
        await create(tenant)
        second = (await tenant.http.get(WEBHOOKS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert [item["id"] for item in first["items"] + second["items"]] == ids[:0:-1]
        assert (second["total"], second["skip"], second["limit"]) == (6, 0, 2)


class TestDelete:
    async def test_it_is_gone(self, tenant: Tenant) -> None:
        path = f"{WEBHOOKS}/{(await create(tenant))['id']}"
        assert (await tenant.http.delete(path)).status_code == 204
        for answer in (await tenant.http.get(path), await tenant.http.delete(path)):
            check_problem(answer, 404, "webhook_not_found")
        assert (await tenant.http.get(WEBHOOKS)).json()["items"] == []


class TestPermission:
    async def test_of_another_tenant_there_is_nothing(self, tenant: Tenant, new_tenant: MakeTenant) -> None:
        stranger = await new_tenant()
        path = f"{WEBHOOKS}/{(await create(tenant))['id']}"
        for answer in (await stranger.http.get(path), await stranger.http.delete(path)):
            check_problem(answer, 404, "webhook_not_found")
        assert (await stranger.http.get(WEBHOOKS)).json()["total"] == 0
        assert (await tenant.http.get(path)).status_code == 200

    @pytest.mark.parametrize("scopes", [("chat",), ("ingest",), ("chat", "ingest")], ids="+".join)
    async def test_only_admin_keys_may(self, service: Service, scopes: tuple[str, ...]) -> None:
        key = new_key()
        await make_tenant(service.runtime, tenant_caller(new_id()).tenant_id, key, scopes)
        path = f"{WEBHOOKS}/{new_id()}"
        async with service.client(key) as http:
            for method, url in (("POST", WEBHOOKS), ("GET", WEBHOOKS), ("GET", path), ("DELETE", path)):
                body = {"url": URL_OF_OTHERS} if method == "POST" else None
                check_problem(await http.request(method, url, json=body), 403, "forbidden")


@pytest.fixture(scope="module")
async def production(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    settings = make_settings(
        database_url=await make_database(postgres, "test_webhooks_production"),
        data_dir=tmp_path_factory.mktemp("production"),
        app_env="production",
        api_key=new_key(),
        webhook_allowed_hosts="10.0.8.0/24, receiver",
        worker_in_process=False,
    )
    async with serving(settings) as (address, runtime):
        yield Service(address, runtime)


async def test_production_wants_tls_but_for_allowed_hosts(production: Service) -> None:
    _, key = await production.tenant()
    async with production.client(key) as http:
        for url, status in (
            ("http://1.1.1.1/", 400),
            ("https://1.1.1.1/", 201),
            ("http://10.0.8.7:8080/", 201),
            ("http://10.0.9.7/", 400),
            ("https://10.0.9.7/", 400),
        ):
            assert (await http.post(WEBHOOKS, json={"url": url})).status_code == status, url
