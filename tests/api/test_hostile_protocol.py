"""Heads that never end, in bytes or in time (H40, H41)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn

from app.api import http_protocol
from app.api.http_protocol import MOST_HEAD_BYTES, BoundedHttp
from tests.api.test_hostile_tools import connection, raw, read_reply

GET = b"GET / HTTP/1.1\r\nHost: h\r\n"


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def counting(scope: Any, receive: Any, send: Any) -> None:
    """Answers with how many bytes the body had."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = str(size).encode()
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
    await send(head)
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(protocol: Any) -> AsyncIterator[str]:
    config = uvicorn.Config(
        counting, port=0, log_config=None, lifespan="off", http=protocol, timeout_graceful_shutdown=1
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with serving(BoundedHttp) as found:
        yield found


@pytest.mark.parametrize("block", [b"a" * 8192, b"X-A: b\r\n" * 1024], ids=["one header", "many headers"])
async def test_endless_heads_are_cut_off(address: str, block: bytes) -> None:
    async with connection(address) as (reader, writer), asyncio.timeout(10):
        writer.write(GET + b"X-A: ")
        answer = asyncio.ensure_future(read_reply(reader, linger=1))
        sent = 0
        with contextlib.suppress(ConnectionError):
            while not answer.done() and sent < 64 << 20:
                writer.write(block)
                await writer.drain()
                sent += len(block)
        assert (await answer).status == 431
    assert sent < 8 << 20


async def test_bodies_and_later_requests_do_not_count(address: str) -> None:
    body = b"a" * (4 * MOST_HEAD_BYTES)
    one = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with connection(address) as (reader, writer), asyncio.timeout(10):
        for _ in range(3):
            writer.write(one + GET)
            assert (await read_reply(reader)).body == str(len(body)).encode()
            await asyncio.sleep(0.02)
            writer.write(b"X-A: b\r\n\r\n")
            assert (await read_reply(reader)).body == b"0"


async def test_a_long_head_is_left_to_the_application(address: str) -> None:
    assert (await raw(address, GET + b"X-A: " + b"a" * 60_000 + b"\r\n\r\n")).status == 200


@pytest.mark.parametrize("first", [b"", GET, GET + b"\r\n" + GET], ids=["silence", "half a head", "after a request"])
async def test_heads_that_drip_are_ended(address: str, first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert http_protocol.HEAD_SECONDS <= 30
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    async with connection(address) as (reader, writer), asyncio.timeout(5):
        began = time.perf_counter()
        writer.write(first)
        received = asyncio.ensure_future(reader.read())
        while first and not received.done():
            writer.write(b"X")
            await asyncio.sleep(0.02)
        assert (await received).count(b"HTTP/1.1 200") == first.count(b"\r\n\r\n")
        assert 0.2 < time.perf_counter() - began < 2


async def test_slow_bodies_and_answers_are_not_its_business(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.1)
    async with connection(address) as (reader, writer), asyncio.timeout(5):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            await asyncio.sleep(0.1)
            writer.write(b"a")
        assert (await read_reply(reader)).body == b"4"


async def test_the_servers_own_protocol_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the class is for: without it the same head is kept and waited for."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.1)
    async with serving("httptools") as address, connection(address) as (reader, writer):
        writer.write(GET + b"X-A: " + b"a" * (4 * MOST_HEAD_BYTES))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await reader.read(1)
