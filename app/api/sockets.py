"""One WebSocket: a reader, a writer with a bounded queue, and a follower for each turn that is watched.

A handler that only streams would stop reading while it sends, and miss `cancel`, pings and the close (uvicorn stops
reading when frames wait). A client that does not read is closed with 1013; its turns go on.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import WebSocket, WebSocketDisconnect

from app.core.errors import RagchatError
from app.core.logging import get_logger
from app.services.live_turns import Frame

QUEUE_FRAMES = 256
SEND_SECONDS = 10.0
BAD_FRAMES = 10
BAD_FRAMES_SECONDS = 60.0
FLOOD_FRAMES = 600
FLOOD_SECONDS = 10.0
POLICY, UNSUPPORTED, INTERNAL, TOO_SLOW = 1008, 1003, 1011, 1013
log = get_logger(__name__)


class Closing(Exception):
    """Ends the connection with this code."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(code)


class Counter:
    """Raises Closing when more than `most` things happen within `seconds`."""

    def __init__(self, most: int, seconds: float, reason: str) -> None:
        self._most = most
        self._seconds = seconds
        self._reason = reason
        self._times: deque[float] = deque()

    def count(self) -> None:
        now = time.monotonic()
        self._times.append(now)
        while self._times[0] < now - self._seconds:
            self._times.popleft()
        if len(self._times) > self._most:
            raise Closing(POLICY, self._reason)


class Socket:
    """What a handler sees: frames in, events out."""

    def __init__(self, websocket: WebSocket, session_id: UUID) -> None:
        self._websocket = websocket
        self._session_id = session_id
        self._queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_FRAMES)
        self._followers: set[asyncio.Task[None]] = set()
        self._frames = Counter(FLOOD_FRAMES, FLOOD_SECONDS, "too many frames")
        self.bad_frames = Counter(BAD_FRAMES - 1, BAD_FRAMES_SECONDS, "too many bad frames")

    async def send(self, type_: str, **fields: Any) -> None:
        """An event outside of a turn."""
        moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        head = {
            "type": type_,
            "session_id": str(self._session_id),
            "turn_id": None,
            "seq": 0,
            "timestamp": moment,
        }
        await self._queue.put(json.dumps(head | fields, ensure_ascii=False, separators=(",", ":")))

    def follow(self, events: AsyncIterator[Frame]) -> None:
        """Passes a turn's events on, beside whatever else is sent."""
        task = asyncio.create_task(self._pass_on(events))
        self._followers.add(task)
        task.add_done_callback(self._followers.discard)

    async def _pass_on(self, events: AsyncIterator[Frame]) -> None:
        seen = False
        try:
            async for event in events:
                seen = True
                await self._queue.put(event.text)
        except RagchatError as exc:
            log.warning("socket.follow_ended", code=exc.code)
            fields = {"retryable": True, "retry_after_ms": None, "reply_to": None}
            await self.send("error", code=exc.code, message=exc.detail, **fields)
            return
        if not seen:  # resumed behind the last event
            await self.send("system", content="", code="up_to_date")

    async def frames(self) -> AsyncIterator[str]:
        """Text frames until the client leaves."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            self._frames.count()
            text = message.get("text")
            if text is None:
                raise Closing(UNSUPPORTED, "text frames only")
            yield text

    async def _write(self) -> None:
        while True:
            text = await self._queue.get()
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self._websocket.send_text(text)
            except TimeoutError:
                raise Closing(TOO_SLOW, "too slow") from None

    async def run(self, reading: "asyncio.Future[None]") -> None:
        """Until the reader ends, the client leaves or one of the two asks for the end."""
        writing = asyncio.ensure_future(self._write())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, writing):
                if task.done():
                    task.result()
        except Closing as closing:
            await self._close(closing.code, closing.reason)
        except (WebSocketDisconnect, RuntimeError, OSError):
            log.info("socket.gone")
        except Exception:
            log.exception("socket.failed")
            await self._close(INTERNAL, "internal")
        finally:
            await _end([reading, writing, *self._followers])

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(RuntimeError, OSError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(1):
                await self._websocket.close(code, reason)


async def _end(tasks: list[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
