"""uvicorn's WebSocket with bounds on what a client can make it keep; by itself it answers any number of pings, and
waits for ever to say goodbye to a client that does not read.

Use it as `uvicorn.Config(..., ws=BoundedWebSocket)`.
"""

import asyncio
import socket
import time
from asyncio.transports import BaseTransport
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

SEND_BUFFER_BYTES = 256 * 1024
"""Of the kernel: what a client has not fetched waits where it is counted."""
MOST_FRAGMENTS = 1024
CONTROL_FRAMES_A_MINUTE = 600
MINUTE = 60.0
GOODBYE_SECONDS = 30.0
"""From the close frame to the end of the connection: a client that did not read may still find out why."""
SHUTDOWN_SECONDS = 1.0
POLICY, TOO_BIG, TOO_SLOW = 1008, 1009, 1013


class BoundedWebSocket(WebSocketsSansIOProtocol):
    _goodbye: asyncio.TimerHandle | None = None
    _control_frames = 0
    _control_since = 0.0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        plain = transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._goodbye is not None:
            self._goodbye.cancel()
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close" and self.handshake_complete:
            self.writable.set()  # the close stands behind what waits, and does not wait itself
            self._say_goodbye(GOODBYE_SECONDS)
        await super().send(message)

    def shutdown(self) -> None:
        self._say_goodbye(SHUTDOWN_SECONDS)
        super().shutdown()

    def keepalive_timeout(self) -> None:
        """The client does not read, or is gone: not our fault, as uvicorn would have it."""
        self.pong_timer = None
        self._fail(TOO_SLOW, "no answer to a ping")

    def handle_ping(self) -> None:
        """Their answers are not held back when the client does not read, so there is a limit to them."""
        super().handle_ping()
        self._count_control_frame()

    def handle_pong(self, event: Frame) -> None:
        super().handle_pong(event)
        self._count_control_frame()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) > MOST_FRAGMENTS:
            self.frames = []
            self._fail(TOO_BIG, "too many fragments")

    def _count_control_frame(self) -> None:
        now = time.monotonic()
        if now > self._control_since + MINUTE:
            self._control_frames, self._control_since = 0, now
        self._control_frames += 1
        if self._control_frames > CONTROL_FRAMES_A_MINUTE:
            self._fail(POLICY, "too many pings")

    def _fail(self, code: int, reason: str) -> None:
        """Without waiting for the client's own close frame."""
        if self.close_sent or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.fail(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._say_goodbye(GOODBYE_SECONDS)
        self.transport.close()

    def _say_goodbye(self, seconds: float) -> None:
        """A transport that closes first waits until the client has taken everything."""
        if self._goodbye is not None:
            self._goodbye.cancel()
        self._goodbye = self.loop.call_later(seconds, self.transport.abort)
