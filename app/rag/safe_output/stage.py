"""Rewriting a text that comes in pieces so that the result does not depend on where it was cut."""

from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

import regex

from app.rag.safe_output.code import Code

Match: TypeAlias = regex.Match[str]
LONGEST_CONSTRUCT = 750
"""Code points of a tag or of a link with its address; what is longer is not taken for one."""
LONGEST_HELD = 2000
"""Of all stages together, and a little more than they can hold."""


class Incomplete(Exception):
    """What comes next decides."""


class Stage(ABC):
    """Finds where something may begin, and asks `resolve` what becomes of it.

    `resolve` must decide by what stands before the place, and by patterns given to `match`: they look no further than
    `longest` code points, and are matched only when more text could not change the result.
    """

    start: ClassVar[regex.Pattern[str]]
    longest: ClassVar[int] = LONGEST_CONSTRUCT
    remembered: ClassVar[int] = 1
    """Code points of the text before that `resolve` may look at."""

    def __init__(self) -> None:
        self._text = "\n"
        self._at = 1
        self._over = False
        self._code = Code()

    def feed(self, text: str) -> str:
        self._text = self._text[max(0, self._at - self.remembered) :] + text
        self._at = min(self._at, self.remembered)
        return self._run() if text else ""

    def flush(self) -> str:
        """A line feed stands for the end while it is worked out what remains."""
        self._over = True
        return self.feed("\n")[:-1]

    @property
    def idle(self) -> bool:
        """Nothing is held back."""
        return self._at == len(self._text)

    @abstractmethod
    def resolve(self, at: int) -> tuple[str, int]:
        """What replaces the text from `at` on, and where the rest begins."""

    def _run(self) -> str:
        parts = []
        while (found := self.start.search(self._text, self._at)) is not None:
            parts.append(self._taken(found.start()))
            try:
                shown, end = self.resolve(self._at)
            except Incomplete:
                return "".join(parts)
            self._taken(end)
            parts.append(shown)
        parts.append(self._taken(len(self._text)))
        return "".join(parts)

    def _taken(self, end: int) -> str:
        taken, self._at = self._text[self._at : end], end
        self._code.feed(taken)
        return taken

    def match(self, pattern: regex.Pattern[str], at: int) -> Match | None:
        """Incomplete when more text is needed, None when there is no match or one that is too long."""
        end = at + self.longest
        found = pattern.match(self._text, at, end, partial=True)
        if found is None or not found.partial:
            return found
        if self._over or len(self._text) >= end:
            return None
        raise Incomplete

    def literal(self, at: int) -> tuple[str, int]:
        return self._text[at], at + 1
