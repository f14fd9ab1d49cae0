"""Work off the event loop, on threads of our own."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.core.errors import Unavailable

T = TypeVar("T")


def embedder_closed() -> Unavailable:
    return Unavailable("embedder_closed", "The embedding model has been closed.")


class Threads:
    def __init__(
        self, name: str, count: int, *, niceness: int = 0, closed: Callable[[], Unavailable] = embedder_closed
    ) -> None:
        """`niceness` 1..19 leaves the processor to others first; Linux only, where threads have their own.
        `closed` makes the error after `close`."""
        self._executor = ThreadPoolExecutor(count, name, initializer=_be_nice, initargs=(niceness,))
        self._count = count
        self._closed = False
        self._error = closed

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Unavailable(embedder_closed, or what was given) after `close`."""
        if self._closed:
            raise self._error()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    async def each(self, work: Callable[[T], None], items: Iterable[T]) -> None:
        """Little is queued at a time, so callers share the threads, and nothing new begins after a cancel."""
        waiting = iter(items)

        async def pull() -> None:
            for item in waiting:
                await self.run(work, item)

        # One more than there are threads: the next item is there when a thread gets free.
        pulls = [asyncio.ensure_future(pull()) for _ in range(self._count + 1)]
        try:
            await asyncio.gather(*pulls)
        finally:
            for task in pulls:
                task.cancel()

    async def close(self) -> None:
        """Waits for what has begun."""
        self._closed = True
        await asyncio.to_thread(self._executor.shutdown)


def _be_nice(niceness: int) -> None:
    if niceness and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
