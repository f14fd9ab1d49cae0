"""The sockets of this process: how many there may be, and how all of them end when it stops."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from fastapi import FastAPI

from app.api.sockets import Ages, Socket
from app.core.errors import RateLimited, Unavailable
from app.core.logging import get_logger
from app.core.settings import Settings
from app.runtime import Runtime

User = tuple[UUID, str]
"""Tenant and user: of the session, since one key may speak for many."""
GOODBYE_SECONDS = 0.5
"""Who does not read is left to the server's own end."""
RECONNECT_SECONDS = (1.0, 5.0)
"""Clients are told different times: not all of them come back at once."""
log = get_logger(__name__)


class Connections:
    def __init__(self, settings: Settings) -> None:
        self.ages = Ages(idle=settings.ws_idle_seconds, life=settings.ws_lifetime_seconds)
        self._most = settings.ws_max_sockets
        self._most_per_user = settings.sockets_per_user
        self._count = 0
        self._users: Counter[User] = Counter()
        self._open: set[Socket] = set()
        self._closed = asyncio.Event()

    def __len__(self) -> int:
        return self._count

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Unavailable(too_many_sockets) when the process has as many as it may."""
        if self._count >= self._most:
            log.warning("sockets.full", sockets=self._count)
            raise Unavailable("server_full", "This server has as many sockets open as it may.", retry_after=5)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    @contextlib.contextmanager
    def place_of(self, user: User) -> Iterator[None]:
        """RateLimited(too_many_sockets) when the user has as many as they may; 0 stands for no limit."""
        if 0 < self._most_per_user <= self._users[user]:
            said = f"This user has {self._most_per_user} sockets open; close one of them first."
            raise RateLimited("too_many_sockets", said, retry_after=5)
        self._users[user] += 1
        try:
            yield
        finally:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]

    @contextlib.contextmanager
    def open(self, socket: Socket) -> Iterator[None]:
        self._open.add(socket)
        try:
            yield
        finally:
            self._open.discard(socket)
            self._closed.set()

    def tell_draining(self) -> None:
        for socket in [*self._open]:
            milliseconds = round(1000 * random.uniform(*RECONNECT_SECONDS))  # noqa: S311  no secret
            said = "This server is about to stop; answers that are on their way may still finish."
            socket.tell("system", content=said, code="server_draining", retry_after_ms=milliseconds)

    async def finish(self) -> None:
        """Until all have said their last word, or it has taken too long."""
        await asyncio.gather(*(socket.finish() for socket in [*self._open]))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                while self._open:
                    self._closed.clear()
                    await self._closed.wait()


def begin_draining(app: FastAPI) -> None:
    """At once, in the handler of a signal."""
    runtime: Runtime = app.state.runtime
    connections: Connections = app.state.connections
    if not runtime.draining.begun:
        runtime.draining.begin()
        log.info("drain.begun", sockets=len(connections), turns=runtime.chat.running)
        connections.tell_draining()
        runtime.document_events.end()


async def drain(app: FastAPI, seconds: float, hurry: asyncio.Event) -> None:
    """Turns that run may finish within `seconds`, or until somebody is in a hurry; then every stream ends."""
    runtime: Runtime = app.state.runtime
    connections: Connections = app.state.connections
    began = time.monotonic()
    interrupted = await runtime.chat.drain(seconds, hurry)
    await connections.finish()
    runtime.draining.ended.set()
    log.info("drain.ended", interrupted=interrupted, seconds=round(time.monotonic() - began, 2))
