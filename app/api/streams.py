"""Server-sent events as a plain ASGI response: nothing between a token and the socket."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any
from uuid import UUID

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.guard import authenticate
from app.api.leaving import until_disconnect
from app.api.sockets import CHECK_SECONDS
from app.core.background import cancel
from app.core.errors import RagchatError, Unauthorized
from app.services.auth import auth_expired
from app.services.live_turns import Frame, event_text
from app.services.turns import error_of

PING_SECONDS = 15.0
LIFE_SECONDS = 600.0
"""A stream ends then without a last event; clients connect again, behind the last one they saw."""
FLUSH_SECONDS = 1.0
"""For the last events of turns that have just ended because the service stops."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "Content-Type": "text/event-stream; charset=utf-8",
}


def frame(type_: str, data: str, id_: str | None = None) -> bytes:
    """`data` is JSON on one line."""
    id_line = f"id: {id_}\n" if id_ is not None else ""
    return f"event: {type_}\n{id_line}data: {data}\n\n".encode()


def turn_frame(event: Frame) -> bytes:
    """`event:` is the type, `id:` is `<turn_id>.<seq>`."""
    return frame(event.type, event.text, f"{event.turn_id}.{event.seq}")


def error_frame(exc: RagchatError) -> bytes:
    """Without an `id:`: who connects again goes on behind the last event that had one."""
    return frame("error", json.dumps({"type": "error"} | error_of(exc, None)))


def error_frame_in(session_id: UUID) -> Callable[[RagchatError], bytes]:
    """The same as an event of the session, outside of a turn, as WebSockets have it."""
    return lambda exc: frame("error", event_text("error", error_of(exc, None), session_id))


class EventStream(Response):
    """The source is read on when the client has left only as far as it likes: a turn does not depend on it.

    It ends properly with its source, after its life, or when the service stops; and with an error once the caller would
    not be let in any more.
    """

    def __init__(
        self,
        source: AsyncIterator[Any],
        encode: Callable[[Any], bytes] = turn_frame,
        *,
        encode_error: Callable[[RagchatError], bytes] = error_frame,
    ) -> None:
        super().__init__(b"", headers=HEADERS)
        del self.headers["content-length"]
        self._source = source
        self._encode = encode
        self._encode_error = encode_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(until_disconnect(receive))
        stopping = asyncio.ensure_future(scope["app"].state.runtime.draining.ended.wait())
        expiring = asyncio.ensure_future(_until_refused(scope))
        last = b""
        try:
            parts = {sending, leaving, stopping, expiring}
            await asyncio.wait(parts, timeout=LIFE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                await asyncio.wait({sending, leaving}, timeout=FLUSH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            left = leaving.done()
            if sending.done():
                sending.result()
            elif expiring.done():
                last = self._encode_error(expiring.result())
        finally:
            await cancel(sending, leaving, stopping, expiring)
        if not left:
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _send_all(self, send: Send) -> None:
        pending: asyncio.Future[Any] | None = None
        try:
            while True:
                pending = pending or asyncio.ensure_future(anext(self._source))
                done, _ = await asyncio.wait({pending}, timeout=PING_SECONDS)
                if not done:
                    await _write(send, b": ping\n\n")
                    continue
                finished, pending = pending, None
                try:
                    await _write(send, self._encode(finished.result()))
                except StopAsyncIteration:
                    break
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.wait({pending})
            if isinstance(self._source, AsyncGenerator):
                await self._source.aclose()


async def _write(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_refused(scope: Scope) -> RagchatError:
    """Looks at the caller once in a while."""
    auth, headers = scope["app"].state.runtime.auth, Headers(scope=scope)
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            await authenticate(auth, headers)
        except Unauthorized:
            return auth_expired()
        except RagchatError:  # the database is away; the next look will tell
            continue
