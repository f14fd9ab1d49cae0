"""The protocol itself, over plain sockets: lengths, speed, heads, methods, addresses (H29, H30, H37, H40-H43, H51)."""

import asyncio
import contextlib
import time

import pytest

from app.api import bodies
from tests.api import test_hostile_tools as tools
from tests.api.test_hostile_tools import CANARY, check_problem, connection, raw, read_reply, request
from tests.conftest import Service, Tenant

edge, unharmed = tools.edge, tools.unharmed
SESSIONS = "/api/v1/sessions"
BODY = b'{"user_id":"a"}'
JSON = {"Content_Type": "application/json"}


class TestLengths:
    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            ("Content-Length: 15\r\nContent-Length: 16", BODY),
            ("Content-Length: -1", BODY),
            ("Content-Length: +15", BODY),
            ("Content-Length: 0x0f", BODY),
            ("Content-Length: 15, 15", BODY),
            ("Content-Length: 99999999999999999999999", BODY),
            ("Content-Length: 15\r\nTransfer-Encoding: chunked", b"f\r\n" + BODY + b"\r\n0\r\n\r\n"),
            ("Transfer-Encoding: xchunked", b"0\r\n\r\n"),
            ("Transfer-Encoding: identity", BODY),
            ("Transfer-Encoding: chunked, gzip", b"0\r\n\r\n"),
            ("Transfer-Encoding: chunked", b"zz\r\n"),
            ("Transfer-Encoding: chunked", b"-1\r\n"),
            ("Transfer-Encoding : chunked", b"0\r\n\r\n"),
            ("Transfer-Encoding: chunked", b"ffffffffffffffffff\r\n"),
        ],
    )
    async def test_contradictions_end_the_connection(self, edge: Tenant, headers: str, body: bytes) -> None:
        """One answer, and what follows is never taken for a request of its own (smuggling)."""
        head = f"POST {SESSIONS} HTTP/1.1\r\nHost: h\r\nX-API-Key: {edge.key}\r\nContent-Type: application/json\r\n"
        smuggled = request("GET", "/livez", None)
        reply = await raw(edge.service.address, f"{head}{headers}\r\n\r\n".encode() + body + smuggled, linger=0.5)
        assert reply.status == 400
        assert b"HTTP/1.1" not in reply.rest
        assert b"live" not in reply.rest

    async def test_two_requests_in_one_go_get_two_answers(self, edge: Tenant) -> None:
        """That the test above could see a second answer."""
        data = request("GET", "/livez", None) * 2
        assert b"HTTP/1.1 200" in (await raw(edge.service.address, data, linger=0.3)).rest

    @pytest.mark.parametrize("path", [SESSIONS, "/api/v1/search", f"{SESSIONS}/x/messages", "/api/v1/documents"])
    @pytest.mark.parametrize("with_key", [True, False])
    async def test_announced_length_over_the_limit(self, edge: Tenant, path: str, with_key: bool) -> None:
        data = request("POST", path, edge.key if with_key else None, **JSON, Content_Length="1000000000")
        check_problem(await raw(edge.service.address, data + b"{}"), 413, "too_large")

    async def test_limit_of_json_to_the_byte(self, edge: Tenant) -> None:
        for size, status in ((bodies.JSON_BYTES, 201), (bodies.JSON_BYTES + 1, 413)):
            body = BODY + b" " * (size - len(BODY))
            assert (await raw(edge.service.address, request("POST", SESSIONS, edge.key, body, **JSON))).status == status

    @pytest.mark.parametrize("path", [SESSIONS, "/api/v1/search"])
    async def test_endless_chunks_are_refused_while_they_come(self, edge: Tenant, path: str) -> None:
        async with connection(edge.service.address) as (reader, writer):
            writer.write(request("POST", path, edge.key, **JSON, Transfer_Encoding="chunked"))
            answer = asyncio.ensure_future(read_reply(reader))
            sent = 0
            while not answer.done() and sent < 64 << 20:
                writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
                sent += 65_536
                await writer.drain()
                await asyncio.sleep(0)
            check_problem(await answer, 413, "too_large")
        assert sent < 16 << 20

    async def test_body_that_nobody_reads_is_not_waited_for(self, edge: Tenant) -> None:
        for method, path, status in (("POST", "/nowhere", 404), ("GET", "/livez", 200), ("DELETE", SESSIONS, 405)):
            data = request(method, path, edge.key, Content_Length="1000000")
            assert (await raw(edge.service.address, data)).status == status


class TestSpeed:
    async def test_a_body_that_drips_is_ended(self, edge: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.4)
        form = ("/api/v1/documents", "multipart/form-data; boundary=x", b"--x\r\nX-A: ")
        for path, media, first in ((SESSIONS, "application/json", b""), form):
            async with connection(edge.service.address) as (reader, writer):
                writer.write(request("POST", path, edge.key, Content_Type=media, Content_Length="10000") + first)
                answer = asyncio.ensure_future(read_reply(reader, linger=1))
                began = time.perf_counter()
                while not answer.done() and time.perf_counter() - began < 5:
                    writer.write(b" ")
                    await asyncio.sleep(0.05)
                problem = await answer
            check_problem(problem, 408, "body_timeout")
            assert problem.headers["connection"] == "close"
            assert 0.3 < time.perf_counter() - began < 2

    async def test_grace_fits_the_promise(self) -> None:
        assert bodies.GRACE_SECONDS <= 30

    async def test_others_are_served_meanwhile(self, edge: Tenant) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(200):
                _, writer = await stack.enter_async_context(connection(edge.service.address))
                writer.write(b"POST /api/v1/sessions HTTP/1.1\r\nHost: h\r\nX-Slow:")
            began = time.perf_counter()
            for _ in range(20):
                assert (await edge.http.get(SESSIONS)).status_code == 200
            assert time.perf_counter() - began < 2


class TestHeads:
    @pytest.mark.parametrize(
        ("extra", "status", "code"),
        [
            ("X-A: " + "a" * 200_000 + "\r\n", 431, "headers_too_large"),
            ("X-A: b\r\n" * 10_000, 431, "headers_too_large"),
            ("X-A: b\r\n" * 100, 431, "headers_too_large"),
            ("X-A: " + "a" * 60_000 + "\r\n", 401, "unauthorized"),
            (f"X-A: {CANARY}\r\n" * 90, 401, "unauthorized"),
        ],
        ids=["long", "very many", "many", "long enough", "many enough"],
    )
    async def test_headers(self, service: Service, extra: str, status: int, code: str) -> None:
        data = f"GET {SESSIONS} HTTP/1.1\r\nHost: h\r\n{extra}\r\n".encode()
        check_problem(await raw(service.address, data), status, code)

    async def test_address(self, edge: Tenant) -> None:
        check_problem(await edge.http.get(f"{SESSIONS}?q=" + "a" * 9000), 414, "url_too_long")
        check_problem(await edge.http.get("/" + "a" * 9000), 414, "url_too_long")
        assert (await edge.http.get(f"{SESSIONS}?q=" + "%20" * 200)).status_code == 200

    @pytest.mark.parametrize(
        "head",
        ["Host: x/?", "Host: localhost?", "Host: a#b", "Host: a b", "Host: u@h", "Host: [::1", "Host: h:99999999",
         "Host: a\r\nHost: b", "Host: a\r\nHost: a", "Host: \xff", "X-A: b", "Host: h\\", "Host: h,h"],
    )  # fmt: skip
    async def test_hosts_that_are_none(self, edge: Tenant, head: str) -> None:
        for key in (f"X-API-Key: {edge.key}\r\n", ""):
            data = f"GET {SESSIONS} HTTP/1.1\r\n{head}\r\n{key}\r\n".encode("latin-1")
            check_problem(await raw(edge.service.address, data), 400, "invalid_host")

    @pytest.mark.parametrize(
        "host", ["", "h", "127.0.0.1:8000", "[::1]:8000", "my_service", "a.example.", "xn--80ak6aa92e.com"]
    )
    async def test_hosts_that_are_some(self, edge: Tenant, host: str) -> None:
        data = f"GET {SESSIONS} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {edge.key}\r\n\r\n".encode()
        assert (await raw(edge.service.address, data)).status == 200

    @pytest.mark.parametrize("header", ["X-Request-ID: a b", "X-Request-ID: " + "a" * 65, f"X-Request-ID: <{CANARY}>"])
    async def test_request_ids_that_are_none_are_replaced(self, service: Service, header: str) -> None:
        reply = await raw(service.address, f"GET /nowhere HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n".encode())
        assert len(check_problem(reply, 404)["request_id"]) == 32

    @pytest.mark.parametrize(
        "line",
        ["GET /livez HTTP/9.9", "GET /li vez HTTP/1.1", "get /livez HTTP/1.1", "GET /n\xff HTTP/1.1",
         "GET livez HTTP/1.1", "FOO /livez HTTP/1.1", "\x16\x03\x01\x02", "GET /livez HTTP/1.1\r\nNoColon"],
    )  # fmt: skip
    async def test_what_is_no_request(self, service: Service, line: str) -> None:
        assert (await raw(service.address, f"{line}\r\nHost: h\r\n\r\n".encode("latin-1"))).status == 400


class TestMethods:
    @pytest.mark.parametrize(
        ("path", "allow"),
        [
            (SESSIONS, "GET, POST"),
            (f"{SESSIONS}/x", "GET, PUT, DELETE"),
            (f"{SESSIONS}/x/favorite", "PATCH"),
            (f"{SESSIONS}/x/messages", "GET, POST"),
            (f"{SESSIONS}/x/chat", "POST"),
            ("/api/v1/documents", "GET, POST"),
            ("/api/v1/documents/x", "GET, DELETE"),
            ("/api/v1/search", "POST"),
            ("/livez", "GET, HEAD"),
            ("/docs", "GET, HEAD"),
        ],
    )
    @pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PROPFIND", "CONNECT"])
    async def test_405_names_every_method_of_the_address(
        self, edge: Tenant, method: str, path: str, allow: str
    ) -> None:
        reply = await raw(edge.service.address, request(method, path, edge.key))
        check_problem(reply, 405, "method_not_allowed")
        assert reply.headers["allow"] == allow

    async def test_delete_on_a_collection(self, edge: Tenant) -> None:
        await edge.session()
        check_problem(await edge.http.delete(SESSIONS), 405, "method_not_allowed")
        assert (await edge.http.get(SESSIONS)).json()["total"] > 0

    @pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
    async def test_overrides_do_nothing(self, edge: Tenant, name: str) -> None:
        id_ = await edge.session()
        for method in ("GET", "PUT"):
            response = await edge.http.request(method, f"{SESSIONS}/{id_}", headers={name: "DELETE"}, json={})
            assert response.status_code == 200
        response = await edge.http.get(f"{SESSIONS}/{id_}?_method=DELETE")
        assert (response.status_code, response.json()["id"]) == (200, id_)

    @pytest.mark.parametrize("path", ["/", "/health", "/livez", "/readyz", "/docs"])
    async def test_head_is_get_without_a_body(self, service: Service, path: str) -> None:
        reply = await raw(service.address, request("HEAD", path, None), linger=0.1)
        assert (reply.status, reply.rest) == (200, b"")
        assert int(reply.headers["content-length"]) > 0

    async def test_head_elsewhere_is_refused_without_a_body(self, edge: Tenant) -> None:
        reply = await raw(edge.service.address, request("HEAD", SESSIONS, edge.key), linger=0.1)
        assert (reply.status, reply.headers["allow"], reply.rest) == (405, "GET, POST", b"")


class TestAddresses:
    @pytest.mark.parametrize(
        "path",
        ["//api/v1/sessions", "/api/v1//sessions", "/api/v1/../v1/sessions", "/api/v1/%2e%2e/v1/sessions",
         "/api/v1/sessions;x", "/api/v1/sessions/", "/API/v1/sessions", "/api/v1/sessions%00", "/api/v1/sessions%20",
         "/api/v1/sessions%0d%0aX:y", "/api/v1/sessions.json", "/api/v1/./sessions", "/%61pi/v2/sessions",
         "/docs/assets/..%2f..%2f..%2fmain.py", "/docs/assets/%2e%2e/init.js", "/docs/assets/init.js%00",
         "/.env", "/files", "/static/../app/main.py", f"/{CANARY}%22%3Cscript%3E", "/%ed%a0%80", "*"],
    )  # fmt: skip
    async def test_tricks_lead_nowhere(self, edge: Tenant, path: str) -> None:
        for key in (edge.key, None):
            check_problem(await raw(edge.service.address, request("GET", path, key)), 404, "not_found")

    @pytest.mark.parametrize(
        "path", ["/api%2fv1%2fsessions", "/%61pi/v1/sessions", "http://evil.example/api/v1/sessions"]
    )
    async def test_other_spellings_of_a_protected_address_are_protected(self, edge: Tenant, path: str) -> None:
        check_problem(await raw(edge.service.address, request("GET", path, None)), 401, "unauthorized")
        assert (await raw(edge.service.address, request("GET", path, edge.key))).status == 200

    @pytest.mark.parametrize("name", ["X_Original_URL", "X_Rewrite_URL", "X_Forwarded_Prefix", "X_Forwarded_Host"])
    async def test_headers_do_not_change_the_address(self, edge: Tenant, name: str) -> None:
        data = request("GET", "/livez", None, **{name: SESSIONS})
        assert (await raw(edge.service.address, data)).json() == {"status": "live"}
        data = request("GET", SESSIONS, None, **{name: "/livez"})
        check_problem(await raw(edge.service.address, data), 401)

    async def test_instance_is_a_uri_reference(self, service: Service) -> None:
        reply = await raw(service.address, request("GET", '/a%20b%0a"%C3%A9', None))
        assert check_problem(reply, 404)["instance"] == "/a%20b%0A%22%C3%A9"


class TestOrigins:
    """No page of another origin may read anything: there are no CORS headers at all."""

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://here"])
    async def test_no_cors_headers(self, edge: Tenant, origin: str) -> None:
        asked = {
            "Origin": origin,
            "Access_Control_Request_Method": "POST",
            "Access_Control_Request_Headers": "x-api-key",
        }
        for method, path in (("OPTIONS", SESSIONS), ("GET", SESSIONS), ("GET", "/livez"), ("GET", "/nowhere")):
            reply = await raw(edge.service.address, request(method, path, edge.key, **asked))
            assert not [name for name in reply.headers if name.startswith("access-control")]
            assert reply.headers["cross-origin-resource-policy"] == "same-origin"


class TestRanges:
    @pytest.mark.parametrize(
        "range_", ["bytes=5-2", "bytes=99999999-", "bytes=0-0," + "0-," * 3000, "lines=1-2", "bytes=-"]
    )
    async def test_of_the_explorers_files(self, service: Service, range_: str) -> None:
        began = time.perf_counter()
        reply = await raw(service.address, request("GET", "/docs/assets/init.js", None, Range=range_))
        assert time.perf_counter() - began < 1
        if reply.status >= 400:
            check_problem(reply, reply.status)
        else:
            assert reply.status in (200, 206)
