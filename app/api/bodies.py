"""How much of a request's body is taken, and how long it may take to come."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

JSON_BYTES = 1 << 20
"""For every router but the one that takes files: `APIRouter(max_body_size=JSON_BYTES)`."""
GRACE_SECONDS = 20.0
SLOWEST_BYTES_PER_SECOND = 4096
"""Slower than this, after the grace, is a client that holds a place instead of sending something."""


def in_time(receive: Receive) -> Receive:
    """The same, but HTTPException 408 when the body comes too slowly."""
    return _InTime(receive).receive


class _InTime:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0
        self._deadline = 0.0
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:  # what may come now is that the client leaves
            return await self._receive()
        self._deadline = self._deadline or asyncio.get_running_loop().time() + GRACE_SECONDS
        try:
            async with asyncio.timeout_at(self._deadline + self._size / SLOWEST_BYTES_PER_SECOND):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, headers={"Connection": "close"}) from None
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        return message
