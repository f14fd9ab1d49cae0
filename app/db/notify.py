"""LISTEN on a connection of its own, made anew when it breaks. A hint only: whoever waits also polls."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.background import in_background
from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.db.engine import driver_connection

RETRY_SECONDS = 1.0
log = get_logger(__name__)


@contextlib.asynccontextmanager
async def listening(engine: AsyncEngine, channel: str, wake: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `wake` for every notification on `channel`, and once after each reconnection."""
    async with in_background(_listen(engine, channel, lambda _payload: wake())):
        yield


class Hub:
    """Who waits for which payload of a channel: one connection for all of them, made for the first, kept until closed.

    `closing` is set when it is time to stop waiting for good.
    """

    def __init__(self, engine: AsyncEngine, channel: str) -> None:
        self.closing = False
        self._engine = engine
        self._channel = channel
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def subscribed(self, payload: str) -> Iterator[asyncio.Event]:
        """The event is set by every notification, by every reconnection, and when the hub is closing."""
        if self._task is None and not self.closing:
            self._task = asyncio.create_task(_listen(self._engine, self._channel, self._heard))
        event = asyncio.Event()
        self._waiting.setdefault(payload, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[payload].discard(event)
            if not self._waiting[payload]:
                del self._waiting[payload]

    @property
    def subscribers(self) -> int:
        return sum(len(events) for events in self._waiting.values())

    def end(self) -> None:
        """Everybody is woken; whoever waits sees `closing`."""
        self.closing = True
        self._heard(None)

    async def close(self) -> None:
        self.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _heard(self, payload: str | None) -> None:
        waiting = [*self._waiting.values()] if payload is None else [self._waiting.get(payload, set())]
        for events in waiting:
            for event in events:
                event.set()


class Channel:
    """Passes on each payload, and None once it listens (again), from the first `open` on."""

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._task: asyncio.Task[None] | None = None

    def open(self, heard: Callable[[str | None], None]) -> None:
        """Of no effect the second time."""
        if self._task is None:
            self._task = asyncio.create_task(_listen(self._engine, self._name, heard))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


async def _listen(engine: AsyncEngine, channel: str, heard: Callable[[str | None], None]) -> None:
    """Calls `heard` with each payload, and with None once it listens: anything may have been missed until then."""
    while True:
        try:
            async with driver_connection(engine) as connection:
                lost = asyncio.Event()
                connection.add_termination_listener(_setter(lost))
                await connection.add_listener(channel, lambda *told: heard(told[3]))
                heard(None)
                await lost.wait()
        except (TimeoutError, Unavailable, OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
            log.warning("listen.lost", channel=channel)
        await asyncio.sleep(RETRY_SECONDS)


def _setter(event: asyncio.Event) -> Callable[..., None]:
    return lambda *_: event.set()
