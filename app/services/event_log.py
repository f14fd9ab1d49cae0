"""Events of all turns of this process, committed in groups before anybody sees them.

Each tenant has a lane of its own; what arrives while it writes is collected for the next transaction. A turn's first
words, and whatever is no delta, are stored at once. Other text waits for the next beat: about twenty a second when
there is little to do, fewer when the database takes its time. So the load decides how long a delta is.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from app.core.caller import tenant_caller
from app.core.errors import RagchatError, StorageFull, Unavailable
from app.core.logging import get_logger
from app.db.uow import UowFactory
from app.services.live_turns import Frame, LiveTurn
from app.services.pacing import Outgoing

BEAT_SECONDS = 0.05
SHARE = 3
"""A beat is so many times as long as the last flush took: the rest of it is left to others."""
LONGEST_REST_SECONDS = 0.5
"""One flush that takes seconds, because others load the disk, must not silence what comes next for twice as long."""
WRITERS = 4
"""Transactions at a time, of all lanes together: the pool's other connections are for requests."""
PATIENCE_SECONDS = 10.0
"""A database that is gone for longer ends the turn. Shorter than a lease, which nobody could renew meanwhile."""
PAUSE_SECONDS = 0.2
MOST_BEATS = 10_000
"""Tenants whose next beat is remembered, before those that are past are forgotten."""
AT_ONCE = 50
"""Turns whose followers are woken before anybody else gets the processor."""
log = get_logger(__name__)


def turn_lost() -> RagchatError:
    return RagchatError("turn_lost", "Another process has ended this turn.")


def next_beat(began: float, ended: float) -> float:
    """When, behind a flush of these times, in seconds."""
    rest = min((SHARE - 1) * (ended - began), LONGEST_REST_SECONDS)
    return max(began + BEAT_SECONDS, ended + rest)


class Patience:
    """With a database that is away. Everything is tried twice at least: a process that was stopped for longer finds
    that its first try has timed out, and must not take that for an answer."""

    def __init__(self) -> None:
        self._until = time.monotonic() + PATIENCE_SECONDS
        self.tried = False

    def is_over(self) -> bool:
        """Asked after each failure."""
        again, self.tried = self.tried, True
        return again and time.monotonic() >= self._until


class _Pending:
    """What one turn has still to store."""

    def __init__(self, turn: LiveTurn) -> None:
        self.turn = turn
        self.text = Outgoing()
        self.frames: list[Frame] = []
        self.has_spoken = False
        self.waits = False
        """In its lane's queue."""
        self.idle = asyncio.Event()

    def pour(self, *, all_of_it: bool = False) -> None:
        """The text so far becomes a delta."""
        text = self.text.take(self.turn.compose, all_of_it=all_of_it)
        if text:
            self.has_spoken = True
            self.frames.append(self.turn.number_delta(text))

    def take(self) -> list[Frame]:
        try:
            self.pour()
        except Exception:
            log.exception("events.not_composed", turn_id=str(self.turn.turn_id))
            self.turn.fail(RagchatError())
        taken, self.frames = self.frames, []
        return taken


_Batch = dict[_Pending, list[Frame]]


class EventLog:
    def __init__(self, uow: UowFactory, holder: UUID) -> None:
        self._uow = uow
        self._holder = holder
        self._pending: dict[UUID, _Pending] = {}
        self._lanes: dict[UUID, _Lane] = {}
        self._beats: dict[UUID, float] = {}
        self._writers = asyncio.Semaphore(WRITERS)

    def add(self, turn: LiveTurn, *items: tuple[str, dict[str, Any]]) -> None:
        """(type, fields) in order, behind what was said before."""
        pending = self._of(turn)
        pending.pour(all_of_it=True)
        pending.frames += turn.number(items)
        self._lane(turn.tenant_id).put(pending, at_once=True)

    def say(self, turn: LiveTurn, text: str) -> None:
        """Becomes a delta, mostly with what is said next."""
        pending = self._of(turn)
        pending.text.add(text)
        if not pending.waits:
            self._lane(turn.tenant_id).put(pending, at_once=not pending.has_spoken)

    def pour(self, turn: LiveTurn) -> None:
        """What was said so far is composed now."""
        self._of(turn).pour()

    async def flush(self, turn: LiveTurn) -> None:
        """Until everything is stored and told. Raises why it cannot be: turn_lost, or what the database says."""
        pending = self._of(turn)
        pending.pour(all_of_it=True)
        self._lane(turn.tenant_id).put(pending, at_once=True)
        await pending.idle.wait()
        if turn.failure is not None:
            raise turn.failure

    def close(self, turn: LiveTurn) -> None:
        """Nothing more will come of this turn."""
        self._pending.pop(turn.turn_id, None)

    def end(self) -> None:
        """For when no turn runs any more."""
        for lane in [*self._lanes.values()]:
            lane.end()

    def _of(self, turn: LiveTurn) -> _Pending:
        found = self._pending.get(turn.turn_id)
        if found is None:
            found = self._pending[turn.turn_id] = _Pending(turn)
        return found

    def _lane(self, tenant_id: UUID) -> "_Lane":
        lane = self._lanes.get(tenant_id)
        if lane is None:
            beat_at = self._beats.pop(tenant_id, 0.0)
            lane = _Lane(lambda batch: self._append(tenant_id, batch), lambda: self._ended(tenant_id), beat_at)
            self._lanes[tenant_id] = lane
        return lane

    def _ended(self, tenant_id: UUID) -> None:
        self._beats[tenant_id] = self._lanes.pop(tenant_id).beat_at
        if len(self._beats) > MOST_BEATS:
            now = time.monotonic()
            self._beats = {id_: at for id_, at in self._beats.items() if at > now}

    async def _append(self, tenant_id: UUID, batch: _Batch) -> set[UUID]:
        """The turns whose frames are stored now."""
        watched = [pending.turn.turn_id for pending in batch if pending.turn.watched]
        rows = [frame for frames in batch.values() for frame in frames]
        async with self._writers, self._uow(tenant_caller(tenant_id)) as uow:
            held = await uow.turn_events.append(self._holder, rows)
            await uow.turn_events.notify("events", watched)
        return held


class _Lane:
    """One tenant's queue. Ends when it is empty.

    Two transactions may be under way: one for what cannot wait, one for the beat. A turn is in one of them at most, so
    its events keep their order.
    """

    def __init__(
        self, append: Callable[[_Batch], Awaitable[set[UUID]]], ended: Callable[[], None], beat_at: float
    ) -> None:
        self._append = append
        self._ended = ended
        self._at_once: dict[_Pending, None] = {}
        self._spoken: dict[_Pending, None] = {}
        self._flying: set[_Pending] = set()
        self._flushes: dict[bool, asyncio.Task[None]] = {}
        """By whether it is the beat's."""
        self._wake = asyncio.Event()
        self.beat_at = beat_at
        """When text that is no turn's first may be stored."""
        self._task = asyncio.create_task(self._run())

    def put(self, pending: _Pending, *, at_once: bool) -> None:
        pending.idle.clear()
        pending.waits = True
        if at_once:
            self._at_once[pending] = None
            self._wake.set()
        elif pending not in self._spoken:
            self._spoken[pending] = None
            if len(self._spoken) == 1:
                self._wake.set()

    def end(self) -> None:
        for task in (self._task, *self._flushes.values()):
            task.cancel()

    async def _run(self) -> None:
        """The top of the lane's task."""
        try:
            while self._at_once or self._spoken or self._flushes:
                self._wake.clear()
                self._begin(self._at_once, on_beat=False)
                if time.monotonic() >= self.beat_at:
                    self._begin(self._spoken, on_beat=True)
                await self._wait()
        finally:
            self._ended()  # in the same step as the last look: nothing can be put between

    async def _wait(self) -> None:
        waits_for_beat = True not in self._flushes and any(pending not in self._flying for pending in self._spoken)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self.beat_at - time.monotonic()) if waits_for_beat else None):
                await self._wake.wait()

    def _begin(self, waiting: dict[_Pending, None], *, on_beat: bool) -> None:
        if on_beat in self._flushes:
            return
        chosen = [pending for pending in waiting if pending not in self._flying]
        for pending in chosen:
            self._at_once.pop(pending, None)
            self._spoken.pop(pending, None)
            pending.waits = False
        if chosen:
            self._flying.update(chosen)
            self._flushes[on_beat] = asyncio.create_task(self._flush(chosen, on_beat=on_beat))

    async def _flush(self, chosen: list[_Pending], *, on_beat: bool) -> None:
        """The top of a transaction's task."""
        began = time.monotonic()
        try:
            batch = {pending: pending.take() for pending in chosen}
            await self._store({at: frames for at, frames in batch.items() if frames and not at.turn.failure})
        except Exception:
            log.exception("events.fault")
            for pending in chosen:
                pending.turn.fail(RagchatError())
        finally:
            del self._flushes[on_beat]
            self._flying.difference_update(chosen)
            self._wake.set()
        if on_beat:
            self.beat_at = next_beat(began, time.monotonic())
        for pending in chosen:
            if not pending.waits:
                pending.idle.set()

    async def _store(self, batch: _Batch) -> None:
        """Then tells the followers. What one turn's events are to blame for is no other's fault."""
        if not batch:
            return
        try:
            held = await self._append_patiently(batch)
        except (Unavailable, StorageFull) as exc:
            log.error("events.not_stored", turns=len(batch), code=exc.code)
            for pending in batch:
                pending.turn.fail(exc)
        except Exception:
            if len(batch) > 1:
                for pending, frames in batch.items():
                    await self._store({pending: frames})
                return
            for pending in batch:
                log.exception("events.refused", turn_id=str(pending.turn.turn_id))
                pending.turn.fail(RagchatError())
        else:
            await self._publish(batch, held)

    async def _append_patiently(self, batch: _Batch) -> set[UUID]:
        """Tries again while the database is away for a moment."""
        patience = Patience()
        while True:
            try:
                return await self._append(batch)
            except Unavailable as exc:
                if patience.is_over():
                    raise
                log.warning("events.waiting", turns=len(batch), code=exc.code)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _publish(self, batch: _Batch, held: set[UUID]) -> None:
        for count, (pending, frames) in enumerate(batch.items(), start=1):
            if pending.turn.turn_id in held:
                pending.turn.publish(frames)
            else:
                pending.turn.fail(turn_lost())
            if count % AT_ONCE == 0:
                await asyncio.sleep(0)
