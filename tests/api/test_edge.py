"""What every answer says to browsers, and what pages of other origins can do: nothing, unless an operator names them.

Heads, bodies, addresses and methods are in test_hostile_http.py and test_hostile_protocol.py.
"""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.core.errors import UnsafeSettings
from tests.api import test_hostile_tools as tools
from tests.api.test_hostile_sockets import upgrade
from tests.api.test_hostile_tools import check_problem, raw, request
from tests.conftest import Service, Tenant, make_settings, serving

edge, unharmed = tools.edge, tools.unharmed
SHOP, EVIL = "https://shop.example", "https://evil.example"
EVERYWHERE = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
FOR_DATA = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'", "cache-control": "no-store"}


@pytest.fixture(scope="module")
async def opened_up(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tenant]:
    """For the pages of a shop, behind a proxy that ends TLS."""
    settings = make_settings(
        database_url=database_url, data_dir=tmp_path_factory.mktemp("shop"), worker_in_process=False,
        allowed_origins=f"{SHOP}, http://localhost:5173/", trusted_proxies="127.0.0.1", hsts_seconds=31_536_000,
    )  # fmt: skip
    async with serving(settings) as (address, runtime):
        service = Service(address, runtime)
        caller, key = await service.tenant()
        async with service.client(key) as http:
            yield Tenant(service, caller, key, http)


class TestHeaders:
    async def test_of_data_and_problems(self, edge: Tenant) -> None:
        session = await edge.session()
        chat = f"/api/v1/sessions/{session}/chat/stream"
        answers = [
            await edge.http.get("/livez"),
            await edge.http.get(f"/api/v1/sessions/{session}"),
            await edge.http.get("/api/v1/sessions/none"),
            await edge.http.get("/nowhere"),
            await edge.http.post("/api/v1/sessions", content=b"{", headers={"Content-Type": "application/json"}),
            await edge.http.post("/api/v1/sessions", content=b" " * (1 << 21)),
            await edge.http.post(chat, json={"message": "hello", "use_rag": False}),
            await edge.http.get("/v1/models"),
            await edge.http.request("TRACE", "/livez"),
        ]
        for answer in answers:
            assert (EVERYWHERE | FOR_DATA).items() <= dict(answer.headers).items(), answer.request.url
            assert "set-cookie" not in answer.headers
            assert "strict-transport-security" not in answer.headers

    async def test_of_pages_and_their_files(self, service: Service) -> None:
        async with service.client() as http:
            page, script = await http.get("/docs"), await http.get("/docs/assets/init.js")
        for answer in (page, script):
            assert EVERYWHERE.items() <= dict(answer.headers).items()
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]

    async def test_of_a_refused_upgrade(self, edge: Tenant) -> None:
        answer = await raw(edge.service.address, upgrade(f"/chat/{await edge.session()}", None))
        check_problem(answer, 401)
        assert (EVERYWHERE | FOR_DATA).items() <= dict(answer.headers).items()

    async def test_of_an_original_file(self, tenant: Tenant) -> None:
        """Whatever it holds, it is saved and not shown, and runs nothing where it is shown all the same (H54)."""
        files = {"file": ("page.html", b"<html><script>alert(1)</script><p>Words of a page.</p></html>")}
        made = (await tenant.http.post("/api/v1/documents", files=files)).json()
        link = (await tenant.http.get(f"/api/v1/documents/{made['id']}/link")).json()["url"]
        for path in (f"/api/v1/documents/{made['id']}/content", link):
            answer = await tenant.http.get(path)
            assert answer.status_code == 200
            assert EVERYWHERE.items() <= dict(answer.headers).items()
            assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
            assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''page.html"
            assert answer.headers["cache-control"] == "private, no-cache"

    async def test_https_is_remembered_where_the_operator_says_so(self, opened_up: Tenant) -> None:
        over_tls = await opened_up.http.get("/livez", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "::1"})
        assert over_tls.headers["strict-transport-security"] == "max-age=31536000"
        assert "strict-transport-security" not in (await opened_up.http.get("/livez")).headers


class TestCors:
    @pytest.mark.parametrize("origin", [SHOP, "null", EVIL, "*"])
    async def test_off_unless_configured(self, edge: Tenant, origin: str) -> None:
        for answer in await _asked(edge, origin):
            assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.status_code == 405

    @pytest.mark.parametrize("origin", ["null", EVIL, "*", SHOP.upper(), f"{SHOP}.evil.example", "http://shop.example"])
    async def test_other_origins_get_nothing(self, opened_up: Tenant, origin: str) -> None:
        for answer in await _asked(opened_up, origin):
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["vary"] == "Origin"
        check_problem(answer, 405)

    @pytest.mark.parametrize("origin", [SHOP, "http://localhost:5173"])
    async def test_the_named_ones_may_ask_and_read(self, opened_up: Tenant, origin: str) -> None:
        simple, refused, preflight = await _asked(opened_up, origin)
        for answer in (simple, refused):
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["vary"] == "Origin"
            assert {"ETag", "Location", "RateLimit", "Retry-After", "X-Request-ID"} <= set(
                answer.headers["access-control-expose-headers"].split(", ")
            )
        assert (preflight.status_code, preflight.content) == (204, b"")
        said = {name: value for name, value in preflight.headers.items() if name.startswith("access-control")}
        assert said == {
            "access-control-allow-origin": origin,
            "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
            "access-control-allow-headers": "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
            "Last-Event-ID, Range, X-API-Key, X-Request-ID",
            "access-control-max-age": "600",
        }

    async def test_no_credentials_of_the_browser_ever(self, opened_up: Tenant) -> None:
        for answer in await _asked(opened_up, SHOP):
            assert "access-control-allow-credentials" not in answer.headers

    async def test_an_options_request_that_is_no_preflight(self, opened_up: Tenant) -> None:
        answer = await opened_up.http.request("OPTIONS", "/api/v1/sessions", headers={"Origin": SHOP})
        check_problem(answer, 405)
        assert answer.headers["allow"] == "GET, POST"

    async def test_sockets_go_by_the_same_list(self, opened_up: Tenant) -> None:
        path = f"/chat/{await opened_up.session()}"
        for origin, status in ((SHOP, 101), (EVIL, 403), ("null", 403), ("http://here", 101)):
            answer = await raw(opened_up.service.address, upgrade(path, opened_up.key, Origin=origin))
            assert answer.status == status, origin

    @pytest.mark.parametrize("origin", ["*", "null", "shop.example", "https://shop.example/path", "https://*.example"])
    def test_a_list_that_says_too_much_is_refused_at_the_start(self, origin: str) -> None:
        with pytest.raises(UnsafeSettings, match="origin_invalid"):
            make_settings(allowed_origins=f"{SHOP},{origin}")

    @pytest.mark.parametrize("networks", ["everybody", "10.0.0.0/99", "*"])
    def test_proxies_that_are_none_are_refused_at_the_start(self, networks: str) -> None:
        with pytest.raises(UnsafeSettings, match="trusted_proxies_invalid"):
            make_settings(trusted_proxies=networks)


async def _asked(tenant: Tenant, origin: str) -> list[httpx.Response]:
    """A read, a refused read, and what browsers send before a POST with a key."""
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key,content-type"}
    return [
        await tenant.http.get("/api/v1/sessions", headers={"Origin": origin}),
        await tenant.http.get("/api/v1/sessions/none", headers={"Origin": origin}),
        await tenant.http.request("OPTIONS", "/api/v1/sessions", headers={"Origin": origin} | asking),
    ]


class TestNoCookies:
    """Nothing that a browser sends by itself is a credential, so a foreign page has nothing to ride on."""

    @pytest.mark.parametrize("name", ["session", "api_key", "X-API-Key", "Authorization", "access_token", "token"])
    async def test_a_cookie_opens_nothing(self, edge: Tenant, name: str) -> None:
        cookie = f"{name}={edge.key}"
        check_problem(await raw(edge.service.address, request("GET", "/api/v1/sessions", None, Cookie=cookie)), 401)
        path = f"/chat/{await edge.session()}"
        check_problem(await raw(edge.service.address, upgrade(path, None, Cookie=cookie)), 401)

    @pytest.mark.parametrize(
        "media_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=a"]
    )
    async def test_what_a_foreign_form_can_send_is_no_json(self, edge: Tenant, media_type: str) -> None:
        """Without a preflight it can send these, and it cannot send a key at all."""
        body = b'{"user_id": "ravi"}'
        headers = {"Content-Type": media_type, "Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
        answer = await edge.http.post("/api/v1/sessions", content=body, headers=headers)
        check_problem(answer, 415, "unsupported_type")
        given = {name.replace("-", "_"): value for name, value in headers.items()}
        for path in ("/api/v1/sessions", "/api/v1/documents"):
            check_problem(await raw(edge.service.address, request("POST", path, None, body, **given)), 401)
