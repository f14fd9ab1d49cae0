"""WebSocket clients that cost next to nothing, so that the servers are what is measured: frames are counted, not
parsed.
"""

import asyncio
import base64
import os
import re
import struct
import time
from collections.abc import Callable, Sequence

DEADLINE_SECONDS = 120.0
SAID = re.compile(rb'"text":"t(\d+)')


class Client(asyncio.Protocol):
    """Connects, asks when told, counts tokens (each ends with a space) until `done`."""

    def __init__(self, port: int, path: str, question: str, key: str = "") -> None:
        self._port, self._path, self._question, self._key = port, path, question, key
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tokens = self.deltas = 0
        self.asked = self.said = self.first = self.last = 0.0
        self._upgraded = False

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)
        await self.open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = f"X-API-Key: {self._key}\r\n" if self._key else ""
        nonce = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\n{key}\r\n".encode()
        )

    def ask(self) -> None:
        payload = self._question.encode()
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        self.asked = time.perf_counter()
        self._write(b"\x81" + length + b"\0\0\0\0" + payload)

    def stop_reading(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head.split(b"\r\n")[0] + b" ", head
            self._upgraded, self._buffer = True, rest
            self.open.set_result(None)
        self._frames()

    def _frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 2:
            length, begin = buffer[at + 1], at + 2
            if length == 126:
                length, begin = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, begin = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if len(buffer) < begin + length:
                break
            self._take(buffer[at] & 0x0F, buffer[begin : begin + length])
            at = begin + length
        self._buffer = buffer[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self._write(b"\x8a\x80\0\0\0\0")
        elif payload.startswith(b'{"type":"delta"'):
            self.last = time.perf_counter()
            if not self.first:
                self.first = self.last
                self.said = int(SAID.findall(payload)[0]) / 1e9
            self.tokens += payload.count(b" ")
            self.deltas += 1
        elif payload.startswith(b'{"type":"done"') and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.open, self.done):
            if not future.done():
                future.set_exception(exc or ConnectionError("closed"))


async def crowd(clients: Sequence[Client], deaf: Sequence[Client], spread: float, measure: Callable[[], int]) -> int:
    """All connect, ask at even distances within `spread` seconds and listen to the end; the deaf ones ask and do not.
    The most that was measured meanwhile."""
    for client in [*clients, *deaf]:
        await client.connect()
    for client in deaf:
        client.ask()
        client.stop_reading()
    began, most = time.perf_counter(), 0
    for number, client in enumerate(clients):
        await asyncio.sleep(max(0.0, began + spread * number / len(clients) - time.perf_counter()))
        client.ask()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while any(not client.done.done() for client in clients):
            most = max(most, measure())
            await asyncio.sleep(0.25)
    for client in [*clients, *deaf]:
        client.close()
    await asyncio.sleep(0.5)
    return most
