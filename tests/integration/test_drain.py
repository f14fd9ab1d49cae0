"""A stop with people on the line: what is nearly said is said to the end, the rest is kept and told."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets
from sqlalchemy import URL

from tests.conftest import make_database
from tests.integration.processes import Child, Place, place, rows
from tests.integration.streams import Client, connect, connected

DRAIN = 3
SHORT, LONG = "count 10 at 100", "count 2000 at 50"
LAST = "when it stops count 10 at 50"
RUNNING = "SELECT count(*) FROM turns WHERE status = 'running'"


@pytest.fixture
async def here(postgres: URL) -> AsyncIterator[Place]:
    url = await make_database(postgres, "test_drain")
    async with place(database_url=url, drain_seconds=str(DRAIN), worker_in_process="false") as made:
        yield made


async def stop(service: Child, seconds: float = DRAIN + 5) -> float:
    """How long it took; the exit code is 0."""
    began = time.monotonic()
    assert await service.ended(seconds) == 0
    assert "Traceback" not in service.out + service.err
    assert '"level": "error"' not in service.err
    return time.monotonic() - began


async def test_fifty_sockets_ten_short_turns_and_five_long_ones(here: Place) -> None:
    service = await here.serve_slowly()
    async with connected(here, 50) as clients, here.client() as http:
        short, long, idle = clients[:10], clients[10:15], clients[15:]
        turns = {session: await client.ask(LONG) for session, client in long}
        for session, client in short:
            turns[session] = await client.ask(SHORT)
        for _, client in (*short, *long):
            await client.until("delta")
        service.send(signal.SIGTERM)
        began = time.monotonic()
        told = await asyncio.gather(*(client.until("system", code="server_draining") for _, client in clients))
        assert all(event["retry_after_ms"] > 0 and event["seq"] == 0 for event in told)
        await refuses(here, http, *idle[0])
        closed = await asyncio.gather(*(client.until_closed(DRAIN + 5) for _, client in clients))
        assert {*closed} == {1012}
        await stop(service, DRAIN + 5 - (time.monotonic() - began))
        assert all(client.ends() == ["completed"] for _, client in short)
        assert all(client.ends() == ["interrupted"] for _, client in long)
        for _, client in long:
            assert [event["type"] for event in client.events[-3:]] == ["error", "assistant_message", "done"]
            error = client.events[-3]
            assert (error["code"], error["retryable"]) == ("interrupted", True)

    service = await here.serve_slowly()
    for session, client in long:
        await readable_and_resumable(here, session, turns[session], client)
    service.send(signal.SIGTERM)
    await stop(service)


async def refuses(here: Place, http: httpx.AsyncClient, session: str, client: Client) -> None:
    """Nothing new begins, over any transport, and whoever asks is told where things stand."""
    ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    for path in ("chat", "chat/stream"):
        answer = await http.post(f"/api/v1/sessions/{session}/{path}", json={"message": "hello"})
        assert (answer.status_code, answer.json()["code"], "retry-after" in answer.headers) == (
            503, "server_draining", True,
        ), path  # fmt: skip
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(here, session)
    response = refused.value.response
    assert (response.status_code, json.loads(response.body or b"")["code"]) == (503, "server_draining")
    assert int(response.headers["Retry-After"]) > 0
    await client.send(type="user_message", content="hello", id="late")
    error = await client.until("error", reply_to="late")
    assert (error["code"], error["retryable"], error["retry_after_ms"]) == ("server_draining", True, 5000)
    assert (await http.get(f"/api/v1/sessions/{session}")).status_code == 200


async def readable_and_resumable(here: Place, session: str, turn: str, before: Client) -> None:
    said = [event for event in before.events if event["turn_id"] == turn]
    client = await connect(here, session)
    await client.send(type="resume", turn_id=turn, after=3)
    await client.until("done")
    again = [event for event in client.events if event["turn_id"] == turn]
    assert again == said[3:]
    assert [event["seq"] for event in said] == [*range(1, len(said) + 1)]
    async with here.client() as http:
        assert (await http.get(f"/api/v1/turns/{turn}")).json()["status"] == "interrupted"
        stored = (await http.get(f"/api/v1/sessions/{session}/messages")).json()["items"][-1]
        assert (stored["status"], stored["content"]) == ("interrupted", before.text())
        assert stored["content"].startswith("w0 w1 ")
    await client.ask("count 2 at 0")
    await client.until("done", status="completed")
    await client.close()


async def test_streams_and_requests_end_properly(here: Place) -> None:
    """One that finishes, one that does not, and one that waits for a whole answer."""
    service = await here.serve_slowly()
    async with here.client() as http:
        sessions = [(await http.post("/api/v1/sessions", json={"user_id": "a"})).json()["id"] for _ in range(3)]
        told = [asyncio.create_task(events(http, sessions[n], message)) for n, message in enumerate((LAST, LONG))]
        body = {"message": LAST, "use_rag": False}
        waiting = asyncio.create_task(http.post(f"/api/v1/sessions/{sessions[2]}/chat", json=body))
        async with asyncio.timeout(20):
            while (await rows(here.environment()["DATABASE_URL"], RUNNING))[0][0] < 3:
                await asyncio.sleep(0.02)
        service.send(signal.SIGINT)
        short, long = await asyncio.gather(*told)
        whole = await waiting
        assert (short[-1]["type"], short[-1]["status"]) == ("done", "completed")
        assert (long[-1]["type"], long[-1]["status"]) == ("done", "interrupted")
        assert (whole.status_code, whole.json()["content"][:6]) == (200, "w0 w1 ")
    await stop(service)
    assert "answers on their way: 3; waiting up to 3 seconds" in service.err


async def events(http: httpx.AsyncClient, session: str, message: str) -> list[dict[str, Any]]:
    """To the end of the stream, which is a proper one: httpx raises when it is cut off."""
    body = {"message": message, "use_rag": False}
    async with http.stream("POST", f"/api/v1/sessions/{session}/chat/stream", json=body) as response:
        return [json.loads(line[6:]) async for line in response.aiter_lines() if line.startswith("data: ")]


async def test_a_second_signal_does_not_wait(here: Place) -> None:
    service = await here.serve_slowly(drain_seconds="600")
    async with connected(here) as [(session, client)]:
        turn = await client.ask(LONG)
        await client.until("delta")
        service.send(signal.SIGTERM)
        await client.until("system", code="server_draining")
        await asyncio.sleep(0.5)
        assert service.process.returncode is None
        service.send(signal.SIGTERM)
        await stop(service, 5)
        assert await client.until_closed() == 1012
        assert client.ends() == ["interrupted"]
    service = await here.serve_slowly()
    async with here.client() as http:
        assert (await http.get(f"/api/v1/turns/{turn}")).json()["status"] == "interrupted"
        assert (await http.get(f"/api/v1/sessions/{session}/messages")).json()["items"][-1]["content"] == client.text()
    service.send(signal.SIGTERM)
    await stop(service)


async def test_without_a_turn_it_stops_at_once(here: Place) -> None:
    service = await here.serve_slowly(drain_seconds="600")
    async with connected(here, 3) as clients:
        await clients[0][1].ask("count 2 at 0")
        await clients[0][1].until("done")
        service.send(signal.SIGINT)
        await stop(service, 5)
        assert {await client.until_closed() for _, client in clients} == {1012}
