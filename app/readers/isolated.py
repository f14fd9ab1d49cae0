"""Reads a document in a process of its own that can be killed: a hostile file hurts nobody but itself.

The child gets the open file, the kind and the limits; no name that somebody sent and none of our environment.
What it answers is not trusted either: lines, pages and bytes are bounded here as well.
"""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.readers import READERS
from app.readers.document import Document, Page
from app.readers.errors import UnreadableDocument
from app.readers.limits import DEFAULT_LIMITS, Limits
from app.readers.reading_process import ReadingProcess, reading_process

_LONGEST_LINE = 2**20  # a piece of 65536 characters needs at most 12 bytes each
_TIME_SIGNALS = (signal.SIGXCPU, signal.SIGALRM)


@dataclass(frozen=True, slots=True)
class NewPage:
    number: int | None
    """From 1; None where the format has no pages."""


@dataclass(frozen=True, slots=True)
class Text:
    """The next piece of the page that was begun last."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """Everything was read; always the last part."""

    title: str | None
    warnings: list[str]


Part = NewPage | Text | End


async def read_isolated(path: Path, kind: str, limits: Limits = DEFAULT_LIMITS) -> Document:
    """The whole document at once. Raises as `stream_isolated` does."""
    numbers: list[int | None] = []
    pieces: list[list[str]] = []
    end = End(None, [])
    async with contextlib.aclosing(stream_isolated(path, kind, limits)) as parts:
        async for part in parts:
            match part:
                case NewPage(number):
                    numbers.append(number)
                    pieces.append([])
                case Text(text):
                    pieces[-1].append(text)
                case End():
                    end = part
    pages = [Page(number, "".join(texts)) for number, texts in zip(numbers, pieces, strict=True)]
    return Document(kind, pages, end.title, end.warnings)


async def stream_isolated(path: Path, kind: str, limits: Limits = DEFAULT_LIMITS) -> AsyncGenerator[Part]:
    """Parts in order, ending with End; whoever stops early closes the generator, which ends the child.

    Raises UnreadableDocument with the reader's code, or parser_timeout, parser_crashed, too_large, too_many_pages;
    OSError when the file cannot be opened or no process be started. What the consumer takes for itself between two
    parts does not count against the time limit: the child waits then.
    """
    if kind not in READERS:
        raise UnreadableDocument("unsupported_type")
    order = {"kind": kind, "limits": asdict(limits)}
    with await asyncio.to_thread(path.open, "rb") as file:
        async with reading_process(file, order, longest_line=_LONGEST_LINE) as process:
            answer = _Answer(kind, limits)
            ended = False
            while not ended:
                part = answer.take(await answer.next_line(process))
                ended = isinstance(part, End)
                yield part


class _Answer:
    """Checks the child's lines one by one."""

    def __init__(self, kind: str, limits: Limits) -> None:
        self._kind = kind
        self._limits = limits
        self._bytes = 0
        self._pages = 0
        self._seconds_left = limits.wall_seconds

    async def next_line(self, process: ReadingProcess) -> bytes:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._seconds_left):
                line = await process.answer.readline()
                if not line:
                    raise _failure(await process.wait())
        except TimeoutError as exc:
            raise UnreadableDocument("parser_timeout") from exc
        except ValueError as exc:  # longer than any line of our child
            raise UnreadableDocument("parser_crashed") from exc
        self._seconds_left -= clock() - began
        return line

    def take(self, line: bytes) -> Part:
        self._bytes += len(line)
        if self._bytes > self._limits.max_text_bytes:
            raise UnreadableDocument("too_large")
        try:
            return self._part(json.loads(line))
        except (ValueError, LookupError, TypeError, AttributeError) as exc:  # not what our child writes
            raise UnreadableDocument("parser_crashed") from exc

    def _part(self, message: dict[str, Any]) -> Part:
        if "error" in message:
            raise UnreadableDocument(message["error"], document=self._kind)
        if "end" in message:
            title, warnings = message["end"]["title"], message["end"]["warnings"]
            if not isinstance(title, str | None) or not all(isinstance(warning, str) for warning in warnings):
                raise TypeError
            return End(title, list(warnings))
        if "page" in message:
            return self._new_page(message["page"])
        if self._pages == 0 or not isinstance(message["text"], str):
            raise TypeError
        return Text(message["text"])

    def _new_page(self, number: int | None) -> NewPage:
        if not isinstance(number, int | None):
            raise TypeError
        if self._pages == self._limits.max_pages:
            raise UnreadableDocument("too_many_pages")
        self._pages += 1
        return NewPage(number)


def _failure(exit_status: int) -> UnreadableDocument:
    """For a child that ended without a verdict; negative numbers are signals."""
    failure = UnreadableDocument("parser_timeout" if -exit_status in _TIME_SIGNALS else "parser_crashed")
    failure.add_note(f"the reading process ended with status {exit_status}")
    return failure
