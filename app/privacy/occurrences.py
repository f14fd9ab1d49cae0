"""Values that are known already, found again without the word that gave them away.

"My account number is 50100123456789" tells what it is; "It is 50100123456789." in the answer does not.
"""

import re
from bisect import insort
from collections.abc import Iterator

SHORTEST, LONGEST = 6, 256
"""Code points of a value. What is longer is known by its form."""
_RUN = re.compile(r"\d+|[^\W\d_]+")


class Occurrences:
    """Looks at the runs of digits or letters of a text, and at no more than the values that begin with such a run."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._places: dict[str, list[tuple[int, int]]] = {}
        """By its first run: where in a value that begins, and how long the value is; the longest first."""

    def add(self, name: str, value: str) -> None:
        first = _RUN.search(value)
        if first is None or not SHORTEST <= len(value) <= LONGEST or value in self._names:
            return
        self._names[value] = name
        places = self._places.setdefault(first.group(), [])
        if (first.start(), len(value)) not in places:
            insort(places, (first.start(), len(value)), key=lambda place: -place[1])

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """(name, start, end) in order: of several that begin with a run the longest, and no overlaps."""
        at = 0
        for run in _RUN.finditer(text) if self._names else ():
            if run.start() < at:
                continue
            for offset, length in self._places.get(run.group(), ()):
                start = run.start() - offset
                name = self._names.get(text[start : start + length]) if start >= at else None
                if name is not None and not _goes_on(text, start, start + length):
                    at = start + length
                    yield name, start, at
                    break


def _goes_on(text: str, start: int, end: int) -> bool:
    """It is a part of something longer. A letter of another script is an ending: 9848022338కి."""
    before, behind = text[start - 1 : start], text[end : end + 1]
    return _belongs(before) or _belongs(behind)


def _belongs(char: str) -> bool:
    return char.isdigit() or (char.isascii() and char.isalpha())
