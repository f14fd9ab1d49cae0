"""Work that is of no use to anybody once its client has left."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Receive

from app.core.background import cancel

T = TypeVar("T")
CLIENT_LEFT = 499
"""Of an answer that nobody receives; for the access log, as nginx has it."""


class ClientLeft(Exception):
    """Nobody is there to be answered."""


async def while_waiting(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; it is cancelled, and ClientLeft raised, when the client leaves before. The body must have
    been read."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(until_disconnect(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        await cancel(working, leaving)


async def until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
