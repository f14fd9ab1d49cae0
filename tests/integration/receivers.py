"""A receiver of webhooks: a real HTTP server on loopback, in a thread."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Arrival:
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass
class Receiver:
    port: int
    answers: list[int] = field(default_factory=list)
    """One for each request, in order; 200 when there is none left."""
    location: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    """An answer of 0 waits for it."""

    def url(self, path: str = "/hook", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def got(self, count: int = 1, seconds: float = 30) -> list[Arrival]:
        async with asyncio.timeout(seconds):
            while len(self.arrivals) < count:
                await asyncio.sleep(0.02)
        assert len(self.arrivals) == count
        return self.arrivals


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or whose handshake fails, is what some tests are about."""


def _handler(receiver: Callable[[], Receiver]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            mine = receiver()
            body = self.rfile.read(int(self.headers["content-length"]))
            status = mine.answers.pop(0) if mine.answers else 200
            mine.arrivals.append(Arrival(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if status == 0:
                mine.release.wait(60)
                status = 200
            self.send_response(status)
            if mine.location:
                self.send_header("Location", mine.location)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def receiving(
    *answers: int, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    receiver: Receiver
    server = _Server((host, port), _handler(lambda: receiver))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver = Receiver(server.server_address[1], [*answers])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
