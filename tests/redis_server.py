"""A real Redis on a free port, and one that accepts and never answers."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator

import pytest

from tests.integration.processes import free_port

READY_SECONDS = 10


class Redis:
    def __init__(self, program: str) -> None:
        self._program = program
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.mkdtemp(prefix="rc-redis-")
        self.uri = f"redis://127.0.0.1:{self._port}/0"

    def _launch(self) -> None:
        options = ("--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", self._folder)
        self._process = subprocess.Popen([self._program, *options], stdout=subprocess.DEVNULL)

    async def start(self) -> None:
        self._launch()
        async with asyncio.timeout(READY_SECONDS):
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 0.2):
                    return
                await asyncio.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def running_redis() -> AsyncIterator[Redis]:
    """The test is skipped where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("not present: redis-server")
    redis = Redis(program)
    try:
        await redis.start()
        yield redis
    finally:
        redis.close()


@contextlib.asynccontextmanager
async def silent_redis() -> AsyncIterator[str]:
    """Its address; whoever connects waits for ever."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
