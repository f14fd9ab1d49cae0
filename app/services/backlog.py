"""The chunks of one document, on their way from those who store them to those who embed them."""

import asyncio

WINDOW = 256
"""Chunks embedded together: enough to sort by length, few enough to hold in memory."""


class Backlog:
    def __init__(self) -> None:
        self.size = 0
        """How many chunks are stored: 0..size-1."""
        self._taken = 0
        self._closed = False
        self._changed = asyncio.Event()

    def add(self, count: int) -> None:
        self.size += count
        self._changed.set()

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._changed.set()

    async def next_window(self) -> tuple[int, int] | None:
        """First and last index of chunks that nobody else was given; None at the end."""
        while not self._closed and self.size - self._taken < WINDOW:
            self._changed.clear()
            await self._changed.wait()
        if self._taken == self.size:
            return None
        first = self._taken
        self._taken = min(first + WINDOW, self.size)
        return first, self._taken - 1
