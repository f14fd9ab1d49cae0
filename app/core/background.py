"""Work beside a block of code."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Until all have ended. The first failure cancels the others and is raised as it is."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await cancel(*tasks)


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Until they have ended, however they end. Unlike `suppress(CancelledError)` around an await of the task, it lets a
    cancellation of the caller through that comes meanwhile."""
    for task in tasks:
        task.cancel()
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        await asyncio.wait(tasks)
        raise
    finally:
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # else asyncio complains that nobody has looked at it


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs `work` while the block lasts; leaving the block cancels it and waits until it has ended."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await cancel(task)
        if not task.cancelled():
            task.result()
