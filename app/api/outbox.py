"""What waits to be sent to one client, bounded in frames and in bytes."""

import asyncio
from collections import deque

MOST_FRAMES = 256
MOST_BYTES = 1 << 20
FOLLOWED_FRAMES = MOST_FRAMES * 3 // 4
FOLLOWED_BYTES = MOST_BYTES * 3 // 4
"""What turns may fill of it; the rest is for answers, which do not wait."""
TOO_SLOW = 1013


class Closing(Exception):
    """Ends the connection with this code."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(code)


class Outbox:
    """Turns wait for room: their events are kept elsewhere. Answers to the client's own frames do not, because its
    next frame must be read: when there is no room for one, the client asks more than it reads."""

    def __init__(self) -> None:
        self._frames: deque[str] = deque()
        self._bytes = 0
        self._closing: Closing | None = None
        self._filled = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._frames)

    async def put(self, text: str) -> None:
        while len(self._frames) >= FOLLOWED_FRAMES or self._bytes >= FOLLOWED_BYTES:
            self._room.clear()
            await self._room.wait()
        self._add(text)

    def put_now(self, text: str) -> None:
        """Closing(TOO_SLOW) when there is no room."""
        if len(self._frames) >= MOST_FRAMES or self._bytes >= MOST_BYTES:
            raise Closing(TOO_SLOW, "too slow")
        self._add(text)

    def _add(self, text: str) -> None:
        if self._closing is None:
            self._frames.append(text)
            self._bytes += len(text.encode())
            self._filled.set()

    def close(self, closing: Closing) -> None:
        """Nothing is taken any more; `get` raises it behind what waits."""
        self._closing = self._closing or closing
        self._filled.set()

    async def get(self) -> str:
        while not self._frames:
            if self._closing is not None:
                raise self._closing
            self._filled.clear()
            await self._filled.wait()
        text = self._frames.popleft()
        self._bytes -= len(text.encode())
        self._room.set()
        return text
