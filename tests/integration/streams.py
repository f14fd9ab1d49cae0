"""Clients of the realtime protocol, for tests that watch a service process from outside."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import websockets

from tests.integration.processes import Place

Event = dict[str, Any]


class Client:
    """Reads all the time, as a browser does; what came is in `events`, the close code in `closed`."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self._connection = connection
        self.events: list[Event] = []
        self.closed: int | None = None
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for text in self._connection:
                self.events.append(json.loads(text))
                self._more.set()
        except websockets.ConnectionClosedError:
            pass
        finally:
            self.closed = self._connection.close_code
            self._more.set()

    async def send(self, **fields: Any) -> None:
        await self._connection.send(json.dumps(fields))

    async def ask(self, content: str, **fields: Any) -> str:
        """The turn's id."""
        seen = len(self.events)
        await self.send(type="user_message", content=content, use_rag=False, **fields)
        return str((await self.until("turn_started", after=seen))["turn_id"])

    async def until(self, type_: str, seconds: float = 10, after: int = 0, **fields: Any) -> Event:
        """The first event like this from `after` on."""
        async with asyncio.timeout(seconds):
            while True:
                for event in self.events[after:]:
                    if event["type"] == type_ and all(event.get(name) == value for name, value in fields.items()):
                        return event
                assert self.closed is None, f"closed with {self.closed} before {type_}"
                self._more.clear()
                await self._more.wait()

    async def until_closed(self, seconds: float = 10) -> int | None:
        async with asyncio.timeout(seconds):
            await self._reading
        return self.closed

    async def more(self, than: int) -> None:
        """Until more than so many events have come."""
        async with asyncio.timeout(10):
            while len(self.events) <= than and self.closed is None:
                self._more.clear()
                await self._more.wait()

    async def pong(self, seconds: float) -> None:
        """The protocol's own ping is answered."""
        async with asyncio.timeout(seconds):
            await (await self._connection.ping())

    def reset(self) -> None:
        """As a cable that is pulled out, or a process that is killed."""
        plain = self._connection.transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.transport.abort()

    def text(self) -> str:
        return "".join(event["text"] for event in self.events if event["type"] == "delta")

    def ends(self) -> list[str]:
        return [event["status"] for event in self.events if event["type"] == "done"]

    async def close(self) -> None:
        await self._connection.close()
        await self._reading


async def connect(here: Place, session: str) -> Client:
    url = f"ws://127.0.0.1:{here.port}/chat/{session}"
    client = Client(await websockets.connect(url, additional_headers={"X-API-Key": here.key}, max_size=None))
    await client.until("ready")
    return client


@contextlib.asynccontextmanager
async def connected(here: Place, count: int = 1, user: str = "ravi") -> AsyncIterator[list[tuple[str, Client]]]:
    """Each with a session of its own: (session id, client)."""
    clients: list[tuple[str, Client]] = []
    try:
        async with here.client() as http:
            for _ in range(count):
                session = (await http.post("/api/v1/sessions", json={"user_id": user})).json()["id"]
                clients.append((session, await connect(here, session)))
        yield clients
    finally:
        for _, client in clients:
            await client.close()


def tight_socket(host: str, port: int) -> socket.socket:
    """Takes little without being read."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect((host, port))
    return made
