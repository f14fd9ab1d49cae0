"""Very long pages in slabs, so that no work grows with more than the size of a slab."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.rag.graphemes import Boundaries

PAGE_BREAK = "\f"
"""Stands between the pages in a document's text."""
SLAB = 100_000
_TAIL = SLAB // 10
_GOOD = (re.compile(r"\n\n"), re.compile(r"\n"), re.compile(r"\s(?=[^\W_\u0e33\u0eb3\uff9e\uff9f])"))
"""Where a slab may end, best first: never inside a grapheme cluster (of all letters only these join)."""


@dataclass(frozen=True, slots=True)
class Slab:
    """`start` counts code points from the page's start."""

    start: int
    text: str


class SlabCutter:
    """Takes a page's text in pieces of any size; gives out the same slabs whatever the pieces."""

    def __init__(self) -> None:
        self._start = 0
        self._pieces: list[str] = []
        self._size = 0

    def feed(self, piece: str) -> Iterator[Slab]:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > SLAB:
            text = "".join(self._pieces)
            while len(text) > SLAB:
                end = _end(text)
                yield Slab(self._start, text[:end])
                self._start += end
                text = text[end:]
            self._pieces, self._size = [text], len(text)

    def finish(self) -> Slab:
        return Slab(self._start, "".join(self._pieces))


def _end(text: str) -> int:
    for pattern in _GOOD:
        ends = [match.end() for match in pattern.finditer(text, SLAB - _TAIL, SLAB)]
        if ends:
            return ends[-1]
    cut = Boundaries(text[:SLAB]).before(SLAB - 1)
    return cut if cut > 0 else SLAB
