"""Model output at a pace that people can read and the database can keep up with."""

import asyncio
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any, TypeVar

import regex

from app.core.background import cancel

T = TypeVar("T")


class Tick(Enum):
    """No item came for an interval."""

    TICK = "tick"


INTERVAL_SECONDS = 0.05
"""At most about twenty deltas a second; the first one is never held back."""
_LAST_CLUSTER = regex.compile(r"\X\Z")


class Cancelled(Exception):
    """Somebody asked for the turn to stop."""


async def paced(source: AsyncIterator[T], cancelled: asyncio.Event) -> AsyncIterator[T | Tick]:
    """Items as they come, Tick when none came for an interval; raises Cancelled as soon as the event is set."""
    stop: asyncio.Future[Any] = asyncio.ensure_future(cancelled.wait())
    pending: asyncio.Future[Any] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(source))
            done, _ = await asyncio.wait({pending, stop}, timeout=INTERVAL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if stop in done:
                raise Cancelled
            if pending not in done:
                yield Tick.TICK
                continue
            finished, pending = pending, None
            try:
                yield finished.result()
            except StopAsyncIteration:
                return
    finally:
        await cancel(stop, *([pending] if pending is not None else []))


class Coalescer:
    """Collects text until it is due; never cuts a grapheme cluster in two."""

    def __init__(self) -> None:
        self._text = ""
        self._due = 0.0

    def add(self, text: str) -> None:
        self._text += text

    def take(self, now: float, *, all_of_it: bool = False) -> str:
        """What is to be sent now; empty when it is too early. The last cluster waits: more of it may come."""
        if not self._text or (not all_of_it and now < self._due):
            return ""
        cut = len(self._text) if all_of_it or self._text.isascii() else self._last_cluster()
        taken, self._text = self._text[:cut], self._text[cut:]
        if taken:
            self._due = now + INTERVAL_SECONDS
        return taken

    def _last_cluster(self) -> int:
        found = _LAST_CLUSTER.search(self._text, max(0, len(self._text) - 64))
        return found.start() if found else len(self._text)
