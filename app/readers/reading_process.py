"""Reading processes, made by the fork server of app/readers/fork_server.py, which starts when the first is wanted."""

import asyncio
import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import app
from app.readers.fork_server import NUMBER

_ROOT = Path(app.__path__[0]).parent
_PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_PAUSE_SECONDS = 0.01
_READ_AT_ONCE = 65536
_END_SECONDS = 5.0


class ReadingProcess:
    """Of a group of its own. `answer` is what it writes."""

    def __init__(self, answer: asyncio.StreamReader, told: asyncio.StreamReader) -> None:
        self.answer = answer
        self._told = told
        self._id: int | None = None
        self._exit_status: int | None = None

    async def wait(self) -> int:
        """Its exit status; negative numbers are signals. OSError when it could not be started."""
        if self._exit_status is None:
            await self._begun()
            try:
                self._exit_status = await self._number()
            except asyncio.IncompleteReadError:  # the fork server is gone, and its children with it
                self._exit_status = -signal.SIGKILL
        return self._exit_status

    async def kill(self) -> None:
        if self._exit_status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(await self._begun(), signal.SIGKILL)

    async def _begun(self) -> int:
        if self._id is None:
            try:
                self._id = await self._number()
            except asyncio.IncompleteReadError:
                raise OSError("no process could be started to read a document") from None
        return self._id

    async def _number(self) -> int:
        number: int = NUMBER.unpack(await self._told.readexactly(NUMBER.size))[0]
        return number


@contextlib.asynccontextmanager
async def reading_process(
    file: IO[bytes], order: Mapping[str, Any], *, longest_line: int
) -> AsyncIterator[ReadingProcess]:
    """One that has this open file. It is killed when the block is left, if it has not ended by then."""
    with _pipe(longest_line) as (answer, answers), _pipe(NUMBER.size) as (told, tells):
        await _fork_server.send(json.dumps(order).encode(), [each.fileno() for each in (file, answers, tells)])
        answers.close()
        tells.close()
        process = ReadingProcess(answer, told)
        try:
            yield process
        finally:
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(_END_SECONDS):
                    await process.kill()
                    await process.wait()


@contextlib.contextmanager
def _pipe(longest_line: int) -> Iterator[tuple[asyncio.StreamReader, IO[bytes]]]:
    """Both ends."""
    reader = asyncio.StreamReader(longest_line)
    out, into = os.pipe()
    with os.fdopen(into, "wb", buffering=0) as end, os.fdopen(out, "rb", buffering=0) as start:
        os.set_blocking(out, False)
        watched = _Watched(start, reader)
        try:
            yield reader, end
        finally:
            watched.pause_reading()


class _Watched(asyncio.ReadTransport):
    """Reads from a pipe that stays its owner's. uvloop's own transport closes the descriptor once more, by its number,
    which by then may be another thread's file or another client's connection (uvloop's issue 763)."""

    def __init__(self, pipe: IO[bytes], reader: asyncio.StreamReader) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._pipe = pipe
        self._reader = reader
        reader.set_transport(self)
        self.resume_reading()

    def resume_reading(self) -> None:
        self._loop.add_reader(self._pipe, self._read)

    def pause_reading(self) -> None:
        self._loop.remove_reader(self._pipe)

    def _read(self) -> None:
        data = self._pipe.read(_READ_AT_ONCE)
        if data:
            self._reader.feed_data(data)
        elif data is not None:  # None: nothing there yet
            self.pause_reading()
            self._reader.feed_eof()


class _ForkServer:
    """This process has one at the most."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None

    async def send(self, message: bytes, descriptors: list[int]) -> None:
        """In a new one where the old one is gone."""
        try:
            await _send(self._orders or self._start(), message, descriptors)
        except (BrokenPipeError, ConnectionResetError):
            self.end()
            await _send(self._start(), message, descriptors)

    def _start(self) -> socket.socket:
        self._orders, theirs = socket.socketpair()
        self._orders.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  our own program, no shell
                [sys.executable, "-m", "app.readers.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=_ROOT,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        return self._orders

    def end(self) -> None:
        """And what it has forked."""
        if self._process is not None and self._orders is not None:
            self._orders.close()
            self._process.kill()
            self._process.wait()
        self._process = self._orders = None


async def _send(orders: socket.socket, message: bytes, descriptors: list[int]) -> None:
    while True:
        try:
            socket.send_fds(orders, [message], descriptors)
            return
        except BlockingIOError:  # it is loading libraries
            await asyncio.sleep(_PAUSE_SECONDS)


_fork_server = _ForkServer()
atexit.register(_fork_server.end)
