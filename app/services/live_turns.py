"""Turns that run in this process, and whoever follows them.

A turn belongs to its session: it goes on when a follower leaves, and a follower that comes late reads from the start.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

Event = dict[str, Any]
"""One event of realtime.md as it is sent: type, session_id, turn_id, seq, timestamp and its own fields."""


class LiveTurn:
    """Events reach followers only after they are in the database (`publish` is called behind the commit)."""

    def __init__(self, turn_id: UUID, session_id: UUID) -> None:
        self.turn_id = turn_id
        self.session_id = session_id
        self.cancelled = asyncio.Event()
        self.interrupted = False
        self._events: list[Event] = []
        self._more = asyncio.Event()
        self._ended = False

    @property
    def last_seq(self) -> int:
        return len(self._events)

    def publish(self, events: list[Event]) -> None:
        self._events.extend(events)
        self._wake()

    def interrupt(self) -> None:
        """Its process is about to stop: it ends as `cancelled` ends it, by another name."""
        if not self.cancelled.is_set():
            self.interrupted = True
            self.cancelled.set()

    def end(self) -> None:
        """Nothing more will come, be it that the last events could not be stored."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def follow(self, after: int = 0) -> AsyncIterator[Event]:
        position = after
        while True:
            while position < len(self._events):
                event = self._events[position]
                position += 1
                yield event
            if self._ended:
                return
            await self._more.wait()


class LiveTurns:
    def __init__(self) -> None:
        self._turns: dict[UUID, LiveTurn] = {}

    def open(self, turn_id: UUID, session_id: UUID) -> LiveTurn:
        turn = self._turns[turn_id] = LiveTurn(turn_id, session_id)
        return turn

    def get(self, turn_id: UUID) -> LiveTurn | None:
        return self._turns.get(turn_id)

    def close(self, turn: LiveTurn) -> None:
        turn.end()
        self._turns.pop(turn.turn_id, None)

    def all(self) -> list[LiveTurn]:
        return [*self._turns.values()]
