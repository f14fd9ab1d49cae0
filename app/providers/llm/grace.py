"""The end of a stream, after the answer's own end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

T = TypeVar("T")
GRACE_SECONDS = 2.0


async def with_grace(events: AsyncIterator[T], ended: Callable[[], bool]) -> AsyncIterator[T]:
    """All events; once `ended`, those that come within two seconds: the usage does, from servers that tell it."""
    until: float | None = None
    while True:
        if until is None and ended():
            until = asyncio.get_running_loop().time() + GRACE_SECONDS
        try:
            async with asyncio.timeout_at(until):
                event = await anext(events)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if not ended():  # a timeout of the library's own
                raise
            return
        yield event
