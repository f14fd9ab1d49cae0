"""Model output as it comes, and text that is cut where people would."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, TypeVar

import regex

from app.core.background import cancel

T = TypeVar("T")
_LAST_CLUSTER = regex.compile(r"\X\Z")
_NOT_TEXT = regex.compile(r"[\x00\ud800-\udfff]")


class Cancelled(Exception):
    """Somebody asked for the turn to stop."""


async def pump(source: AsyncIterator[T], take: Callable[[T], None], cancelled: asyncio.Event) -> None:
    """Hands each item on as it comes, to the last; raises Cancelled as soon as the event is set."""
    reading = asyncio.ensure_future(_read(source, take))
    stop: asyncio.Future[Any] = asyncio.ensure_future(cancelled.wait())
    try:
        await asyncio.wait({reading, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise Cancelled
        reading.result()
    finally:
        await cancel(stop, reading)


async def _read(source: AsyncIterator[T], take: Callable[[T], None]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(source, AsyncGenerator):
            await stack.enter_async_context(contextlib.aclosing(source))
        async for item in source:
            take(item)


def clean(text: str) -> str:
    """PostgreSQL's text holds no U+0000, and UTF-8 no lone surrogate; a model may say either."""
    return _NOT_TEXT.sub("\ufffd", text) if "\x00" in text or not text.isascii() else text


class Outgoing:
    """Collects what a model says until it is sent, and cuts it there; never in the middle of a grapheme cluster."""

    def __init__(self) -> None:
        self._raw: list[str] = []
        self._composed = ""

    def add(self, text: str) -> None:
        self._raw.append(text)

    def take(self, compose: Callable[[str], str], *, all_of_it: bool = False) -> str:
        """What can be sent now. `compose` makes it fit to be sent and sees each character once, in pieces as large as
        the pace allows. Unless it is all ASCII the last cluster waits: more of it may come."""
        raw, self._raw = "".join(self._raw), []
        text = self._composed + (compose(raw) if raw else "")
        cut = len(text) if all_of_it or text.isascii() else self._last_cluster(text)
        self._composed = text[cut:]
        return text[:cut]

    @staticmethod
    def _last_cluster(text: str) -> int:
        found = _LAST_CLUSTER.search(text, max(0, len(text) - 64))
        return found.start() if found else len(text)
