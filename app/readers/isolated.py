"""Reads a document in a process of its own that can be killed: a hostile file hurts nobody but itself.

The child gets the open file, the kind and the limits; no name that somebody sent and none of our environment.
What it answers is not trusted either: lines, pages and bytes are bounded here as well.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import app
from app.readers import READERS
from app.readers.document import Document, Page
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits

_ROOT = Path(app.__path__[0]).parent
_LONGEST_LINE = 2**20  # a piece of 65536 characters needs at most 12 bytes each
_PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_END_SECONDS = 5.0
_TIME_SIGNALS = (signal.SIGXCPU, signal.SIGALRM)


async def read_isolated(path: Path, kind: str, limits: Limits = DEFAULT_LIMITS) -> Document:
    """Raises UnreadableDocument with the reader's code, or parser_timeout, parser_crashed, too_large,
    too_many_pages; OSError when the file cannot be opened or no process be started.
    """
    if kind not in READERS:
        raise UnreadableDocument("unsupported_type")
    process = await _start(path, kind, limits)
    try:
        async with asyncio.timeout(limits.wall_seconds):
            return await _Answer(kind, limits).collect(process)
    except TimeoutError as exc:
        raise UnreadableDocument("parser_timeout") from exc
    finally:
        await _end(process)


async def _start(path: Path, kind: str, limits: Limits) -> Process:
    order = json.dumps({"kind": kind, "parent": os.getpid(), "limits": asdict(limits)})
    with await asyncio.to_thread(path.open, "rb") as file:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "app.readers.child", order),
            stdin=file,
            stdout=PIPE,
            stderr=DEVNULL,
            cwd=_ROOT,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            start_new_session=True,
            limit=_LONGEST_LINE,
        )


async def _end(process: Process) -> None:
    """Also while being cancelled. The loop reaps the child even if this is cancelled a second time."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            while await _stdout(process).read(_LONGEST_LINE):  # unread bytes would keep the transport open
                pass
            await process.wait()


def _stdout(process: Process) -> asyncio.StreamReader:
    return cast(asyncio.StreamReader, process.stdout)  # there is one: it was asked for as a pipe


class _Answer:
    """Puts the child's lines together."""

    def __init__(self, kind: str, limits: Limits) -> None:
        self._kind = kind
        self._limits = limits
        self._numbers: list[int | None] = []
        self._pieces: list[list[str]] = []
        self._bytes = 0

    async def collect(self, process: Process) -> Document:
        try:
            while line := await _stdout(process).readline():
                document = self._take(line)
                if document is not None:
                    await process.wait()
                    return document
        except (ValueError, LookupError, TypeError, AttributeError) as exc:  # not what our child writes
            raise UnreadableDocument("parser_crashed") from exc
        raise _failure(await process.wait())

    def _take(self, line: bytes) -> Document | None:
        """The document once its last line was read."""
        self._bytes += len(line)
        if self._bytes > self._limits.max_text_bytes:
            raise UnreadableDocument("too_large")
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise UnreadableDocument(message["error"])
        if "end" in message:
            return self._document(message["end"])
        if "page" in message:
            self._begin_page(message["page"])
        else:
            self._pieces[-1].append(message["text"])
        return None

    def _begin_page(self, number: int | None) -> None:
        if not isinstance(number, int | None):
            raise TypeError
        if len(self._pieces) == self._limits.max_pages:
            raise UnreadableDocument("too_many_pages")
        self._numbers.append(number)
        self._pieces.append([])

    def _document(self, end: dict[str, Any]) -> Document:
        texts = ("".join(pieces) for pieces in self._pieces)
        pages = [Page(number, text) for number, text in zip(self._numbers, texts, strict=True)]
        title, warnings = end["title"], end["warnings"]
        if not isinstance(title, str | None) or not all(isinstance(warning, str) for warning in warnings):
            raise TypeError
        return Document(self._kind, pages, title, list(warnings))


def _failure(exit_status: int) -> UnreadableDocument:
    """For a child that ended without a verdict; negative numbers are signals."""
    failure = UnreadableDocument("parser_timeout" if -exit_status in _TIME_SIGNALS else "parser_crashed")
    failure.add_note(f"the reading process ended with status {exit_status}")
    return failure
