"""What processes tell each other about turns, over LISTEN/NOTIFY. Hints only: whoever waits for one also polls.

`cancel` goes to the process that runs the turn. `follow` tells that process that somebody elsewhere watches; from then
on, and for no longer than they repeat it, each of its flushes is announced with `events`.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from uuid import UUID

from app.db.notify import Channel
from app.services.live_turns import LiveTurns

WATCH_SECONDS = 30.0
"""How long a `follow` counts."""


class TurnSignals:
    """Without a channel nothing is heard, and polling has to do."""

    def __init__(self, live: LiveTurns, channel: Channel | None = None) -> None:
        self._live = live
        self._channel = channel
        self._waiting: dict[UUID, set[asyncio.Event]] = {}

    @property
    def is_silent(self) -> bool:
        return self._channel is None

    def open(self) -> None:
        if self._channel is not None:
            self._channel.open(self._heard)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    @contextlib.contextmanager
    def following(self, turn_id: UUID) -> Iterator[asyncio.Event]:
        """The event is set by each `events` of the turn, and when some may have been missed."""
        self.open()
        event = asyncio.Event()
        self._waiting.setdefault(turn_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[turn_id].discard(event)
            if not self._waiting[turn_id]:
                del self._waiting[turn_id]

    def _heard(self, payload: str | None) -> None:
        if payload is None:
            for turn_id in self._waiting:
                self._wake(turn_id)
            return
        kind, *names = payload.split(" ")
        with contextlib.suppress(ValueError):  # a newer process may say what we do not understand
            for turn_id in map(UUID, names):
                self._act(kind, turn_id)

    def _act(self, kind: str, turn_id: UUID) -> None:
        turn = self._live.get(turn_id)
        if kind == "events":
            self._wake(turn_id)
        elif kind == "cancel" and turn is not None:
            turn.cancelled.set()
        elif kind == "follow" and turn is not None:
            turn.watch(WATCH_SECONDS)

    def _wake(self, turn_id: UUID) -> None:
        for event in self._waiting.get(turn_id, ()):
            event.set()
