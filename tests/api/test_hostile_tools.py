"""What the tests against bad input share, and proof that their checks can fail."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from app.api.errors import MEDIA_TYPE
from tests.conftest import Service, Tenant

CANARY = "zqxjcanary"
"""Stands in what is sent; must be in no log, and in no problem but as part of its own address."""
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}
LIBRARIES = ("pydantic", "starlette", "fastapi", "asyncpg", "sqlalchemy", "python", "errors.pydantic.dev", "/app/")


class Reply(NamedTuple):
    status: int
    headers: httpx.Headers
    body: bytes
    rest: bytes
    """What came after the first answer."""

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@contextlib.asynccontextmanager
async def connection(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def raw(address: str, data: bytes, *, linger: float = 0.0) -> Reply:
    """Sends bytes as they are. With `linger`, waits so long for more after the first answer."""
    async with connection(address) as (reader, writer), asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        return await read_reply(reader, head_only=data.startswith(b"HEAD "), linger=linger)


async def read_reply(reader: asyncio.StreamReader, *, head_only: bool = False, linger: float = 0.0) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = httpx.Headers([(name, value) for name, _, value in (line.partition(": ") for line in head[1:]) if name])
    body = await reader.readexactly(0 if head_only else int(headers.get("content-length", 0)))
    rest = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(linger or 0.001):
            while linger and (block := await reader.read(65_536)):
                rest += block
    return Reply(int(head[0].split(" ")[1]), headers, body, rest)


def request(method: str, path: str, key: str | None, body: bytes = b"", /, **headers: str) -> bytes:
    """HTTP/1.1 by hand; header names with _ for -."""
    lines = [f"{method} {path} HTTP/1.1", "Host: here"]
    lines += [f"X-API-Key: {key}"] if key else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if body and "Transfer_Encoding" not in headers else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def check_problem(response: httpx.Response | Reply, status: int, code: str | None = None) -> dict[str, Any]:
    """RFC 9457, in our words, with nothing of what was sent."""
    status_given = response.status_code if isinstance(response, httpx.Response) else response.status
    assert status_given == status, response.text[:500]
    assert response.headers["content-type"] == MEDIA_TYPE
    problem: dict[str, Any] = response.json()
    assert set(problem) - {"errors"} == MEMBERS
    assert (problem["status"], problem["type"]) == (status, f"/problems/{problem['code']}")
    assert problem["request_id"] == response.headers["x-request-id"]
    assert code is None or problem["code"] == code, problem
    for error in problem.get("errors", ()):
        assert set(error) == {"pointer", "code", "detail"}
        assert error["pointer"] == "" or error["pointer"].startswith("/")
    said = json.dumps({name: value for name, value in problem.items() if name != "instance"}).lower()
    assert CANARY not in said
    assert not [name for name in LIBRARIES if name in said], said
    return problem


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(0)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


@contextlib.contextmanager
def watched_logs() -> Iterator[tuple[list[Any], list[str]]]:
    """Everything that is logged, by structlog's loggers and by the standard ones."""
    handler = _Records()
    logging.getLogger().addHandler(handler)
    try:
        with capture_logs() as events:
            yield events, handler.seen
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.fixture(autouse=True)
async def unharmed(service: Service) -> AsyncIterator[None]:
    """After each test: still ready, nothing failed, and nothing that was sent is in a log."""
    with watched_logs() as (events, records):
        yield
        async with asyncio.timeout(1):
            reply = await raw(service.address, request("GET", "/readyz", None))
    assert reply.status == 200, reply.body
    failed = [event for event in events if event["log_level"] in ("error", "critical")]
    assert not failed
    assert CANARY not in repr(events) + repr(records)


@pytest.fixture(scope="module")
async def edge(service: Service) -> AsyncIterator[Tenant]:
    """One tenant for a module's many small requests."""
    caller, key = await service.tenant()
    async with service.client(key) as http:
        yield Tenant(service, caller, key, http)


def test_a_plain_answer_is_no_problem() -> None:
    with pytest.raises(AssertionError):
        check_problem(httpx.Response(404, text="Not Found"), 404)


@pytest.mark.parametrize("change", [{"detail": CANARY}, {"detail": "Pydantic said"}, {"type": "about:blank"}, {"x": 1}])
def test_a_problem_that_tells_too_much_is_seen(change: dict[str, Any]) -> None:
    fine = dict.fromkeys(MEMBERS, "a") | {"status": 400, "type": "/problems/a"}
    headers = {"content-type": MEDIA_TYPE, "x-request-id": "a"}
    check_problem(httpx.Response(400, json=fine, headers=headers), 400)
    with pytest.raises(AssertionError):
        check_problem(httpx.Response(400, json=fine | change, headers=headers), 400)


async def test_logs_are_seen(edge: Tenant) -> None:
    with watched_logs() as (events, records):
        await edge.http.get("/livez")
        structlog.get_logger().warning("said")
        logging.getLogger("uvicorn.error").warning("heard")
    assert {"request", "said"} <= {event["event"] for event in events}
    assert "heard" in records
