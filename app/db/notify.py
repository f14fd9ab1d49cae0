"""LISTEN on a connection of its own, made anew when it breaks. A hint only: whoever waits also polls."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

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
    async with in_background(_listen(engine, channel, wake)):
        yield


async def _listen(engine: AsyncEngine, channel: str, wake: Callable[[], None]) -> None:
    while True:
        try:
            async with driver_connection(engine) as connection:
                lost = asyncio.Event()
                connection.add_termination_listener(_setter(lost))
                await connection.add_listener(channel, lambda *_: wake())
                wake()
                await lost.wait()
        except (TimeoutError, Unavailable, OSError, asyncpg.InterfaceError, asyncpg.PostgresError):
            log.warning("listen.lost", channel=channel)
        await asyncio.sleep(RETRY_SECONDS)


def _setter(event: asyncio.Event) -> Callable[..., None]:
    return lambda *_: event.set()
