"""As much of HTTP/1.1 as is needed, on bare sockets: a server that keeps the rules cannot break them on demand."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

HEAD_BYTES = 64 << 10
BODY_BYTES = 64 << 20
PHRASES = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
           429: "Too Many Requests", 503: "Service Unavailable"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    """Percent-decoded."""
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """ValueError"""
        value = json.loads(self.body or b"{}")
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return value


class Connection:
    """One client's connection, request after request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._received = b""

    async def read(self) -> Request | None:
        """None when the client has gone, or does not speak HTTP."""
        try:
            while b"\r\n\r\n" not in self._received[:HEAD_BYTES]:
                await self._receive()
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            line, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = line.split(" ")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            body = await self._body(int(headers.get("content-length", "0")))
        except (EOFError, ValueError, OSError):
            return None
        return Request(method, unquote(target.partition("?")[0]), headers, body)

    async def _body(self, size: int) -> bytes:
        parts = [self._received]
        while sum(map(len, parts)) < min(size, BODY_BYTES):
            self._received = b""
            await self._receive()
            parts.append(self._received)
        received = b"".join(parts)
        self._received = received[size:]
        return received[:size]

    async def _receive(self) -> None:
        data = await self._reader.read(1 << 16)
        if not data or len(self._received) > HEAD_BYTES:
            raise EOFError
        self._received += data

    async def gone(self) -> None:
        """Returns when the client has hung up. It says nothing while it waits for an answer."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                await self._receive()

    async def answer(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body, ensure_ascii=False).encode()
        self._head(status, {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})})
        self._writer.write(data)
        await self._writer.drain()

    def begin(self, content_type: str) -> None:
        self._head(200, {"content-type": content_type, "transfer-encoding": "chunked"})

    async def write(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def cut(self) -> None:
        """What was written still arrives; nothing says that it was all."""
        self._writer.close()

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {PHRASES[status]}", *(f"{name}: {value}" for name, value in headers.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
