"""Clients that do not read, that leave without a word, and those beside them, who must not notice."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import websockets
from sqlalchemy import URL

from tests.conftest import make_database
from tests.integration.processes import Child, Place, place
from tests.integration.streams import Client, connect, connected, tight_socket

pytestmark = pytest.mark.xdist_group("slow_clients")
MUCH = "count 100 at 10 by 20000"
"""Two megabytes: more than every buffer on the way together."""


@pytest.fixture(scope="module")
async def busy(postgres: URL) -> AsyncIterator[tuple[Place, Child]]:
    url = await make_database(postgres, "test_slow_clients")
    async with place(database_url=url, worker_in_process="false") as here:
        yield here, await here.serve_slowly()


async def test_who_does_not_read_harms_nobody(busy: tuple[Place, Child]) -> None:
    here, service = busy
    async with here.client() as http, connected(here, 3) as [(_, client), *others]:
        mute = (await http.post("/api/v1/sessions", json={"user_id": "a"})).json()["id"]
        deaf = (await http.post("/api/v1/sessions", json={"user_id": "a"})).json()["id"]
        with (
            tight_socket("127.0.0.1", here.port) as one,
            tight_socket("127.0.0.1", here.port) as another,
            contextlib.ExitStack() as stack,
        ):
            on_socket = await not_reading(here, mute, one)
            stack.callback(on_socket.transport.abort)  # else a failure here would be one of a later test, too
            not_reading_stream(here, deaf, another)
            await asyncio.sleep(4)  # all of it is made by now, and waits
            async with asyncio.TaskGroup() as group:
                group.create_task(talks_in_the_middle(client))
                for _, other in others:
                    group.create_task(hears_all_in_time(other))
            await asyncio.sleep(5)  # they have not read for ten seconds now
            assert await close_code(on_socket) == 1013
            assert await cut_off(another)
        for silent in (mute, deaf):
            await all_is_stored(here, silent)
    await nobody_is_left(here, service)
    assert "Traceback" not in service.err
    assert '"level": "error"' not in service.err


async def talks_in_the_middle(client: Client) -> None:
    """Eight seconds of an answer: whatever is sent meanwhile is answered within a second, and `cancel` works."""
    turn = await client.ask("count 2000 at 50")
    for number in range(8):
        await client.send(type="ping", id=f"p{number}")
        await client.until("pong", 1, id=f"p{number}")
        await client.send(type="no_such_thing", id=f"u{number}")
        assert (await client.until("error", 1, reply_to=f"u{number}"))["code"] == "unknown_type"
        await client.send(type="user_message", content="and this?", id=f"m{number}")
        assert (await client.until("error", 1, reply_to=f"m{number}"))["code"] == "turn_in_progress"
        await client.pong(1)
        await asyncio.sleep(1)
    await client.send(type="cancel", turn_id=turn)
    await client.until("done", 1, status="cancelled")
    assert client.closed is None


async def hears_all_in_time(client: Client) -> None:
    """Nothing of an even stream comes late."""
    await client.ask("count 160 at 50")
    last, longest, seen = time.monotonic(), 0.0, len(client.events)
    while not client.ends():
        await client.more(seen)
        longest, last, seen = max(longest, time.monotonic() - last), time.monotonic(), len(client.events)
    assert client.text() == "".join(f"w{number} " for number in range(160))
    assert longest < 2


async def not_reading(here: Place, session: str, made: socket.socket) -> websockets.ClientConnection:
    connection = await websockets.connect(
        f"ws://127.0.0.1:{here.port}/chat/{session}", sock=made, additional_headers={"X-API-Key": here.key},
        max_queue=1, ping_interval=None, max_size=None,
    )  # fmt: skip
    await connection.send(json.dumps({"type": "user_message", "content": MUCH, "use_rag": False}))
    return connection


async def close_code(connection: websockets.ClientConnection) -> int | None:
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await connection.recv()
    return connection.close_code


def not_reading_stream(here: Place, session: str, made: socket.socket) -> None:
    body = json.dumps({"message": MUCH, "use_rag": False}).encode()
    head = f"POST /api/v1/sessions/{session}/chat/stream HTTP/1.1\r\nHost: here\r\nX-API-Key: {here.key}\r\n"
    made.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    made.setblocking(False)


async def cut_off(stream: socket.socket) -> bool:
    """Whether it ends without the mark of a proper end."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while block := await asyncio.get_running_loop().sock_recv(stream, 65_536):
            received += block
    return b"200 OK" in received and not received.endswith(b"0\r\n\r\n")


async def all_is_stored(here: Place, session: str) -> None:
    """The turn went on, and whoever connects again gets all of it."""
    async with here.client() as http:
        messages: list[dict[str, Any]] = []
        async with asyncio.timeout(30):
            while len(messages) < 2:
                messages = (await http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]
                await asyncio.sleep(0.1)
    assert (messages[1]["status"], len(messages[1]["content"])) == ("completed", 100 * 20_000)
    client = await connect(here, session)
    await client.send(type="resume", turn_id=messages[1]["turn_id"])
    await client.until("done", 30)
    assert client.text() == messages[1]["content"]
    await client.close()


async def nobody_is_left(here: Place, service: Child) -> None:
    """Nothing of those clients is kept."""
    process = psutil.Process(service.process.pid)
    async with asyncio.timeout(15):
        while [c for c in process.net_connections("tcp") if c.laddr.port == here.port and c.raddr]:
            await asyncio.sleep(0.1)


async def test_clients_that_vanish(busy: tuple[Place, Child]) -> None:
    """With a reset in the middle of an answer: the answer is written to its end, and nothing is left behind."""
    here, service = busy
    async with here.client() as http:
        sessions = [(await http.post("/api/v1/sessions", json={"user_id": "a"})).json()["id"] for _ in range(20)]
        clients = [await connect(here, session) for session in sessions]
        for client in clients:
            await client.ask("count 40 at 50")
            await client.until("delta")
        for client in clients:
            client.reset()
        for session in sessions:
            async with asyncio.timeout(20):
                while len(messages := (await http.get(f"/api/v1/sessions/{session}/messages")).json()["items"]) < 2:
                    await asyncio.sleep(0.1)
            assert messages[1]["content"] == "".join(f"w{number} " for number in range(40))
    await nobody_is_left(here, service)
    assert "Traceback" not in service.err
    assert '"level": "error"' not in service.err
