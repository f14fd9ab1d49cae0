"""Turns of services in processes of their own, seen from outside."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import websockets

from app.core.caller import Caller, tenant_caller
from app.core.ids import new_id
from app.core.security import key_digest, new_key
from app.db.engine import create_engine
from app.db.uow import uow_factory
from tests.integration.processes import Place, place

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-that-both-processes-know-0123456789"
ASK = {"type": "user_message", "content": "Count.", "use_rag": False}


@contextlib.asynccontextmanager
async def numbered(tokens: int, rate: float, **settings: str) -> AsyncIterator[Place]:
    """A place whose services say numbered tokens."""
    spoken = {"numbered_tokens": str(tokens), "numbered_rate": str(rate), "pythonpath": str(ROOT)}
    async with place(api_key=KEY, **spoken, **settings) as made:
        made.program = [sys.executable, "-m", "tests.integration.numbered_service"]
        yield made


async def new_session(http: httpx.AsyncClient) -> str:
    return str((await http.post("/api/v1/sessions", json={"user_id": "ravi"})).json()["id"])


@contextlib.asynccontextmanager
async def connected(at: Place, session: str, key: str = KEY) -> AsyncIterator[websockets.ClientConnection]:
    """After `ready`. Leaving cuts the connection: no close frame, as when a cable is pulled."""
    url = f"ws://127.0.0.1:{at.port}/chat/{session}"
    async with asyncio.timeout(15):
        socket = await websockets.connect(url, additional_headers={"X-API-Key": key}, ping_interval=None)
        ready = json.loads(await socket.recv())
    assert ready["type"] == "ready"
    try:
        yield socket
    finally:
        socket.transport.abort()


async def receive(socket: websockets.ClientConnection, seconds: float = 20) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        event: dict[str, Any] = json.loads(await socket.recv())
    return event


async def begin(at: Place, session: str, *, until: str = "turn_started") -> list[dict[str, Any]]:
    """The first events of a new turn, to the first of type `until`; nobody is left who follows it."""
    async with connected(at, session) as socket:
        await socket.send(json.dumps(ASK))
        events = [await receive(socket)]
        while events[-1]["type"] != until:
            events.append(await receive(socket))
    return events


async def replayed(http: httpx.AsyncClient, turn_id: str, after: int = 0) -> list[dict[str, Any]]:
    """Over SSE, to the end."""
    async with http.stream("GET", f"/api/v1/turns/{turn_id}/events", params={"after": after}) as response:
        assert response.status_code == 200, await response.aread()
        return [json.loads(line[6:]) async for line in response.aiter_lines() if line.startswith("data: ")]


async def answer_of(http: httpx.AsyncClient, session: str) -> dict[str, Any]:
    """The last message of the session."""
    items = (await http.get(f"/api/v1/sessions/{session}/messages", params={"limit": 200})).json()["items"]
    return dict(items[-1])


def said(events: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "delta")


async def new_tenant(database_url: str) -> tuple[Caller, str]:
    """A tenant of somebody else's, with a key."""
    caller, key = tenant_caller(new_id()), new_key()
    engine = create_engine(database_url, pool_size=2)
    async with uow_factory(engine)(caller) as uow:
        await uow.api_keys.ensure_tenant(caller.tenant_id, str(caller.tenant_id))
        await uow.api_keys.put_settings_key(key_digest(key.encode()), prefix=key[:8], scopes=["chat"])
    await engine.dispose()
    return caller, key
