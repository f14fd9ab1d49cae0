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


def slabs(text: str) -> Iterator[Slab]:
    start = 0
    while len(text) - start > SLAB:
        end = _end(text, start)
        yield Slab(start, text[start:end])
        start = end
    yield Slab(start, text[start:])


def _end(text: str, start: int) -> int:
    limit = start + SLAB
    for pattern in _GOOD:
        ends = [match.end() for match in pattern.finditer(text, limit - _TAIL, limit)]
        if ends:
            return ends[-1]
    cut = Boundaries(text[start:limit]).before(SLAB - 1)
    return start + cut if cut > 0 else limit
