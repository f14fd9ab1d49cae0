"""Turns that run in this process, and whoever follows them.

A turn belongs to its session: it goes on when a follower leaves, and a follower that comes late reads from the start.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import RagchatError
from app.core.ids import new_id

Event = dict[str, Any]
"""One event of realtime.md as it is sent: type, session_id, turn_id, seq, timestamp and its own fields."""
WINDOW = 32
"""Frames of a turn kept in memory. Whoever is further behind reads the table."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Frame(NamedTuple):
    """An event as it is stored and sent: encoded once, whoever follows."""

    turn_id: UUID
    seq: int
    type: str
    text: str

    @property
    def event(self) -> Event:
        event: Event = json.loads(self.text)
        return event


def make_frame(turn_id: UUID, session_id: UUID, seq: int, type_: str, fields: dict[str, Any]) -> Frame:
    return Frame(turn_id, seq, type_, event_text(type_, fields, session_id, turn_id=str(turn_id), seq=seq))


def event_text(
    type_: str, fields: dict[str, Any], session_id: UUID, *, turn_id: str | None = None, seq: int = 0
) -> str:
    """An event as clients get it; outside of a turn unless one is given."""
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    head = {"type": type_, "session_id": str(session_id), "turn_id": turn_id, "seq": seq, "timestamp": moment}
    return _encode(head | fields)


def delta_frame(turn_id: UUID, seq: int, text: str) -> Frame:
    """Most events are deltas; they leave out what the protocol lets them."""
    return Frame(turn_id, seq, "delta", _encode({"type": "delta", "turn_id": str(turn_id), "seq": seq, "text": text}))


class LiveTurn:
    """Frames reach followers only after they are in the database (`publish` is called behind the commit)."""

    def __init__(self, turn_id: UUID, session_id: UUID, caller: Caller, *, owner: str, holder: UUID) -> None:
        self.turn_id = turn_id
        self.session_id = session_id
        self.holder = holder
        self.tenant_id = caller.tenant_id
        self.cancelled = asyncio.Event()
        """Set when the turn is to stop, for whatever reason."""
        self.interrupted = False
        """It stops because the service does, not because somebody asked for it."""
        self.failure: RagchatError | None = None
        """Its events can no longer be stored; nothing more may be told to anybody."""
        self.compose: Callable[[str], str] = str
        """Makes what the model says fit to be told."""
        self.last_seq = 0
        """The last number given; it may not be published yet."""
        self.watched_until = 0.0
        self.owner = owner
        self._recent: list[Frame] = []
        self._published = 0
        self._more = asyncio.Event()
        self._ended = False

    def is_of(self, caller: Caller) -> bool:
        return caller.tenant_id == self.tenant_id and caller.user_id in (None, self.owner)

    def number(self, items: Iterable[tuple[str, dict[str, Any]]]) -> list[Frame]:
        """(type, fields) in order, as the turn's next frames."""
        frames = []
        for type_, fields in items:
            self.last_seq += 1
            frames.append(make_frame(self.turn_id, self.session_id, self.last_seq, type_, fields))
        return frames

    def renumber(self, items: Iterable[tuple[str, dict[str, Any]]]) -> list[Frame]:
        """The same behind what was published, when what was numbered since then could not be stored."""
        self.last_seq = self._published
        return self.number(items)

    def number_delta(self, text: str) -> Frame:
        self.last_seq += 1
        return delta_frame(self.turn_id, self.last_seq, text)

    def publish(self, frames: list[Frame]) -> None:
        self._recent += frames
        self._published += len(frames)
        if len(self._recent) > 2 * WINDOW:
            del self._recent[:-WINDOW]
        self._wake()

    def interrupt(self) -> None:
        """The service stops: the turn ends now, as `cancelled` ends it, by another name, with the text it has."""
        if not self.cancelled.is_set():
            self.interrupted = True
            self.cancelled.set()

    def fail(self, error: RagchatError) -> None:
        self.failure = self.failure or error
        self.cancelled.set()

    def end(self) -> None:
        """Nothing more will come, be it that the last events could not be stored."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    def watch(self, seconds: float) -> None:
        """Somebody in another process follows; for so long they are told of each flush."""
        self.watched_until = time.monotonic() + seconds

    @property
    def watched(self) -> bool:
        return time.monotonic() < self.watched_until

    async def after(self, seq: int) -> list[Frame] | None:
        """The frames after `seq`, as soon as there are any; none once the turn has ended. None when they are no longer
        kept here."""
        while seq >= self._published and not self._ended:
            await self._more.wait()
        behind = self._published - seq
        if behind <= 0:
            return []
        return self._recent[-behind:] if behind <= len(self._recent) else None


class LiveTurns:
    def __init__(self) -> None:
        self.holder = new_id()
        """What this process signs its turns with: only its holder may add to a turn."""
        self._turns: dict[UUID, LiveTurn] = {}

    def open(self, turn_id: UUID, session_id: UUID, caller: Caller, *, owner: str) -> LiveTurn:
        turn = LiveTurn(turn_id, session_id, caller, owner=owner, holder=self.holder)
        self._turns[turn_id] = turn
        return turn

    def get(self, turn_id: UUID) -> LiveTurn | None:
        return self._turns.get(turn_id)

    def close(self, turn: LiveTurn) -> None:
        turn.end()
        self._turns.pop(turn.turn_id, None)

    def all(self) -> list[LiveTurn]:
        return [*self._turns.values()]

    def by_tenant(self) -> dict[UUID, list[LiveTurn]]:
        grouped: dict[UUID, list[LiveTurn]] = {}
        for turn in self._turns.values():
            grouped.setdefault(turn.tenant_id, []).append(turn)
        return grouped
