"""A turn's events for whoever follows it, wherever it runs: from memory, from the table while another process runs it,
and put together again from the message once its deltas are gone. A follower goes from one to the other by number, so
that nothing is lost and nothing comes twice.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import NotFound, Unavailable
from app.core.logging import get_logger
from app.db.uow import UowFactory
from app.repositories.turn_events import Row
from app.services.interruption import done_fields, error_fields
from app.services.live_turns import Frame, LiveTurns, delta_frame, make_frame
from app.services.sessions import session_not_found
from app.services.turn_signals import WATCH_SECONDS, TurnSignals

POLL_SECONDS = 1.0
"""The net under LISTEN/NOTIFY."""
POLL_ALONE_SECONDS = 0.25
"""Where there is none."""
READS_AT_ONCE = 4
"""However many are woken at once, the pool's other connections are for requests."""
PAGE = 500
PATIENCE_SECONDS = 20.0
"""A database that is gone for longer ends the stream; the client may resume."""
log = get_logger(__name__)


def turn_not_found() -> NotFound:
    return NotFound("turn_not_found", "There is no such turn.")


class Following:
    def __init__(self, uow: UowFactory, live: LiveTurns, signals: TurnSignals) -> None:
        self._uow = uow
        self._live = live
        self._signals = signals
        self._reading = asyncio.Semaphore(READS_AT_ONCE)

    async def frames(self, caller: Caller, turn_id: UUID, after: int) -> AsyncIterator[Frame]:
        """Those after `after`, then what comes, to the last. NotFound(turn_not_found) when it is not the caller's."""
        live = self._live.get(turn_id)
        known = live is not None and live.is_of(caller)
        session_id = live.session_id if live is not None and known else await self._session_id(caller, turn_id)
        reader = _Reader(self._uow, caller, turn_id, session_id)
        with self._signals.following(turn_id) as changed:
            while True:
                live = self._live.get(turn_id)
                frames = await live.after(after) if live is not None else None
                if not frames:
                    changed.clear()
                    async with self._reading:
                        frames = await reader.read(after, ask=live is None and not self._signals.is_silent)
                for frame in frames:
                    after = frame.seq
                    yield frame
                if (reader.ended and not frames) or (frames and frames[-1].type == "done"):
                    return
                if not frames:
                    await self._wait(changed)

    async def _session_id(self, caller: Caller, turn_id: UUID) -> UUID:
        async with self._uow(caller) as uow:
            state = await uow.turns.state(turn_id)
        if state is None:
            raise turn_not_found()
        return state.session_id

    async def _wait(self, changed: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_ALONE_SECONDS if self._signals.is_silent else POLL_SECONDS):
                await changed.wait()


class _Reader:
    """One follower's view of the table."""

    def __init__(self, uow: UowFactory, caller: Caller, turn_id: UUID, session_id: UUID) -> None:
        self._uow = uow
        self._caller = caller
        self._turn_id = turn_id
        self._session_id = session_id
        self._ask_at = 0.0
        self._failing_since: float | None = None
        self.ended = False
        """Nothing will be added any more."""

    async def read(self, after: int, *, ask: bool) -> list[Frame]:
        """The next ones; with `ask` the process that runs the turn is told that somebody waits for them. None of them
        while the database is away for a moment."""
        try:
            frames = await self._read(after, ask=ask)
        except Unavailable as exc:
            now = time.monotonic()
            self._failing_since = self._failing_since or now
            if now - self._failing_since > PATIENCE_SECONDS:
                raise
            log.warning("follow.waiting", code=exc.code)
            return []
        self._failing_since = None
        return frames

    async def _read(self, after: int, *, ask: bool) -> list[Frame]:
        async with self._uow(self._caller) as uow:
            state = await uow.turns.state(self._turn_id)
            if state is None:
                self.ended = True
                return self._deleted(after)
            self.ended = state.status != "running"
            if state.delta_ends:
                rows = await uow.turn_events.read(self._turn_id)
                return rebuilt(rows, state.delta_ends, state.content or "", after)
            if ask and not self.ended and time.monotonic() >= self._ask_at:
                await uow.turn_events.notify("follow", [self._turn_id])
                self._ask_at = time.monotonic() + WATCH_SECONDS / 3
            return [Frame(*row) for row in await uow.turn_events.read(self._turn_id, after, limit=PAGE)]

    def _deleted(self, after: int) -> list[Frame]:
        """For whoever followed when the session went."""
        said = session_not_found()
        error = error_fields(said.code, said.detail, None, retryable=False)
        closing = [("error", error), ("done", done_fields("failed", "error", None))]
        return [
            make_frame(self._turn_id, self._session_id, seq, type_, fields)
            for seq, (type_, fields) in enumerate(closing, start=after + 1)
        ]


def rebuilt(rows: Sequence[Row], delta_ends: Sequence[int], content: str, after: int) -> list[Frame]:
    """All that was told after `after`, as it was told: deltas have the numbers that no row has, and end where they
    ended. A text that has changed its length since then ends with the last one."""
    stored = {row[1]: Frame(*row) for row in rows}
    ends = iter([*delta_ends[:-1], None])
    frames, begin = [], 0
    for seq in range(1, max(stored, default=0) + 1):
        frame = stored.get(seq)
        if frame is None:
            end = next(ends, None)
            frame = delta_frame(rows[0][0], seq, content[begin:end])
            begin = len(content) if end is None else end
        if seq > after:
            frames.append(frame)
    return frames
