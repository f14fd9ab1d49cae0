"""One WebSocket: a reader, a writer with a bounded queue, and a follower for each turn that is watched.

A handler that only streams would stop reading while it sends, and miss `cancel`, pings and the close (uvicorn stops
reading when frames wait). A client that does not read is closed with 1013; its turns go on.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import WebSocket, WebSocketDisconnect
from starlette.types import Message

from app.api.outbox import TOO_SLOW, Closing, Outbox
from app.core.background import cancel
from app.core.errors import RagchatError, RateLimited
from app.core.logging import get_logger
from app.services.live_turns import Frame, event_text
from app.services.turns import error_fields, error_of

SEND_SECONDS = 10.0
FLUSH_SECONDS = 1.0
"""For what still waits when the end has been decided."""
BAD_FRAMES = 10
FRAMES_A_MINUTE = 600
"""What is more is not handled; twice as many end the connection."""
MINUTE = 60.0
CHECK_SECONDS = 45.0
"""How often the credential is looked at again."""
MOST_FOLLOWED = 16
LAST_TURN_SECONDS = 120.0
"""A connection that is old enough to end waits so long for the end of the turn it shows."""
GOING_AWAY, UNSUPPORTED, POLICY, INTERNAL, RESTART = 1001, 1003, 1008, 1011, 1012
log = get_logger(__name__)


class Counter:
    """How often something happened within the last minute."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def count(self) -> int:
        now = time.monotonic()
        self._times.append(now)
        while self._times[0] < now - MINUTE:
            self._times.popleft()
        return len(self._times)


@dataclass(frozen=True, slots=True)
class Ages:
    """Seconds after which a connection ends: without a frame and without a turn, and whatever happens."""

    idle: float
    life: float


class Socket:
    """What a handler sees: frames in, events out."""

    def __init__(self, websocket: WebSocket, session_id: UUID, ages: Ages) -> None:
        self._websocket = websocket
        self._session_id = session_id
        self._ages = ages
        self._outbox = Outbox()
        self._followers: set[asyncio.Task[None]] = set()
        self._frames = Counter()
        self._bad_frames = Counter()
        now = time.monotonic()
        self._used, self._checked, self._ends_at = now, now, now + ages.life

    def send(self, type_: str, **fields: Any) -> None:
        """An event outside of a turn. Closing when the client asks more than it reads."""
        self._outbox.put_now(self._outside(type_, fields))

    def tell(self, type_: str, **fields: Any) -> None:
        """As `send`, for those outside of the reader: it ends the connection by itself."""
        try:
            self.send(type_, **fields)
        except Closing as closing:
            self._outbox.close(closing)

    def _outside(self, type_: str, fields: dict[str, Any]) -> str:
        return event_text(type_, fields, self._session_id)

    def bad_frame(self, code: str, message: str, reply_to: str | None) -> None:
        self.send("error", **error_fields(code, message, reply_to, retryable=False))
        if self._bad_frames.count() >= BAD_FRAMES:
            raise Closing(POLICY, "too many bad frames")

    def follow(self, events: AsyncIterator[Frame]) -> None:
        """Passes a turn's events on, beside whatever else is sent. RateLimited when it follows many already."""
        if len(self._followers) >= MOST_FOLLOWED:
            raise RateLimited("rate_limited", "This socket follows as many turns as it may.")
        task = asyncio.create_task(self._pass_on(events))
        self._followers.add(task)
        task.add_done_callback(self._followed)

    def _followed(self, task: asyncio.Task[None]) -> None:
        self._followers.discard(task)
        self._used = time.monotonic()

    async def _pass_on(self, events: AsyncIterator[Frame]) -> None:
        """The top of a follower's task. It waits for a slow client; the turn does not."""
        seen = False
        try:
            async for event in events:
                seen = True
                await self._outbox.put(event.text)
            if not seen:  # resumed behind the last event
                await self._outbox.put(self._outside("system", {"content": "", "code": "up_to_date"}))
            return
        except RagchatError as exc:
            log.warning("socket.follow_ended", code=exc.code)
            said = exc
        except Exception:
            log.exception("socket.follow_failed")
            said = RagchatError()
        await self._outbox.put(self._outside("error", error_of(said, None)))

    async def frames(self, still_allowed: Callable[[], Awaitable[None]]) -> AsyncIterator[str]:
        """Text frames until the client leaves."""
        while True:
            message = await self._receive(still_allowed)
            if message["type"] == "websocket.disconnect":
                return
            self._used = time.monotonic()
            within = self._within_limits()
            text = message.get("text")
            if text is None:
                raise Closing(UNSUPPORTED, "text frames only")
            if within:
                yield text
                await asyncio.sleep(0)  # many frames may be here already, and the writer must have its turn

    def _within_limits(self) -> bool:
        count = self._frames.count()
        if count == FRAMES_A_MINUTE + 1:
            said = f"More than {FRAMES_A_MINUTE} frames in a minute; this one and those that follow are passed over."
            fields = error_fields("rate_limited", said, None) | {"retry_after_ms": round(1000 * MINUTE)}
            self.send("error", **fields)
        if count > 2 * FRAMES_A_MINUTE:
            raise Closing(POLICY, "too many frames")
        return count <= FRAMES_A_MINUTE

    async def _receive(self, still_allowed: Callable[[], Awaitable[None]]) -> Message:
        while True:
            try:
                async with asyncio.timeout(self._next_look() - time.monotonic()):
                    return await self._websocket.receive()
            except TimeoutError:
                await self._on_time(still_allowed)

    def _next_look(self) -> float:
        now = time.monotonic()
        end = self._ends_at if now < self._ends_at else now + 1  # it waits for the end of a turn
        idle = (now if self._followers else self._used) + self._ages.idle
        return min(end, idle, self._checked + CHECK_SECONDS)

    async def _on_time(self, still_allowed: Callable[[], Awaitable[None]]) -> None:
        """Closing when it is old or not used; `still_allowed` raises it when the credential is no longer good."""
        now = time.monotonic()
        if now >= self._ends_at + (LAST_TURN_SECONDS if self._followers else 0):
            self.send("system", content="Connect again.", code="reconnect", retry_after_ms=0)
            raise Closing(RESTART, "connect again")
        if now >= self._used + self._ages.idle and not self._followers:
            raise Closing(GOING_AWAY, "idle")
        if now >= self._checked + CHECK_SECONDS:
            self._checked = now
            await still_allowed()

    async def _write(self) -> None:
        while True:
            text = await self._outbox.get()
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self._websocket.send_text(text)
            except TimeoutError:
                raise Closing(TOO_SLOW, "too slow") from None
            except (WebSocketDisconnect, RuntimeError, OSError) as exc:  # whatever a lost connection raises
                raise _Gone from exc

    async def run(self, reading: "asyncio.Future[None]") -> None:
        """Until the reader ends, the client leaves or one of the two asks for the end."""
        writing = asyncio.ensure_future(self._write())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            closing = _closing(writing) or _closing(reading)
            if closing is not None:
                self._outbox.close(closing)
                await asyncio.wait({writing}, timeout=FLUSH_SECONDS)
                await cancel(writing)
                await self._close(closing)
        finally:
            await cancel(reading, writing, *self._followers)

    async def finish(self) -> None:
        """The service stops: turns that are followed here say their last word, then the connection ends."""
        if self._followers:
            await asyncio.wait(self._followers, timeout=FLUSH_SECONDS)
        self._outbox.close(Closing(RESTART, "server restart"))

    async def _close(self, closing: Closing) -> None:
        log.info("socket.closed", code=closing.code, reason=closing.reason)
        with contextlib.suppress(RuntimeError, OSError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._websocket.close(closing.code, closing.reason)


class _Gone(Exception):
    """The client has left."""


def _closing(task: "asyncio.Future[None]") -> Closing | None:
    """How the end of the task ends the connection; None when it runs on, or the client has left."""
    if not task.done():
        return None
    try:
        task.result()
    except Closing as closing:
        return closing
    except _Gone:
        log.info("socket.gone")
    except Exception:
        log.exception("socket.failed")
        return Closing(INTERNAL, "internal")
    return None


def _encode(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
