"""A file that a living worker touches, for health checks without a port."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from app.core.background import in_background

BEAT_SECONDS = 5.0
FRESH_SECONDS = 20.0


@contextlib.asynccontextmanager
async def beating(data_dir: Path) -> AsyncIterator[None]:
    """The file goes with the last beat, so that a worker that was stopped does not look alive."""
    path = data_dir / "worker.alive"
    try:
        async with in_background(_beat(path)):
            yield
    finally:
        path.unlink(missing_ok=True)


async def _beat(path: Path) -> None:
    while True:
        with contextlib.suppress(OSError):  # a full disk: the file grows old, which says so
            await asyncio.to_thread(path.touch)
        await asyncio.sleep(BEAT_SECONDS)


def is_fresh(data_dir: Path) -> bool:
    try:
        return time.time() - (data_dir / "worker.alive").stat().st_mtime < FRESH_SECONDS
    except FileNotFoundError:
        return False
