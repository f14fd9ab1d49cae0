"""Digits that stand in a row: their groups, and which of them might be one number.

All that rules ask is worked out once for a row, so that many rules cost little more than one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from app.privacy.characters import GAP, SOFT, apart

Shape = tuple[int, ...]
Window = tuple[int, int]
"""The first and the last group."""
LEAST_DIGITS = 9
MOST_DIGITS = 19
_MOST_GROUPS = 8
_MOST_BREAKS = 2
_RUN = re.compile(rf"[0-9](?:[{GAP}.()]{{0,4}}+[0-9]){{{LEAST_DIGITS - 1},}}+")
_GROUP = re.compile(r"[0-9]+")
_BREAK = re.compile(f"[{SOFT}]")


@dataclass(frozen=True)
class Run:
    text: str
    groups: list[tuple[int, int]]
    gaps: list[str]
    """`gaps[i]` stands before group i; empty before the first and behind the last."""

    @cached_property
    def sizes(self) -> Shape:
        return tuple(end - start for start, end in self.groups)

    @cached_property
    def rows(self) -> list[Window]:
        """Groups between which no line ends."""
        starts = [0, *(i for i in range(1, len(self.groups)) if _BREAK.search(self.gaps[i])), len(self.groups)]
        return [(first, behind - 1) for first, behind in pairwise(starts)]

    @cached_property
    def by_shape(self) -> dict[Shape, list[Window]]:
        """Windows of a few groups in a row; not those that are part of a longer list of such groups."""
        found: dict[Shape, list[Window]] = {}
        for row in self.rows:
            for first, last in self._windows(*row):
                shape = self.sizes[first : last + 1]
                if self._free(first, last) and (first == last or self._unlisted(shape, first, row)):
                    found.setdefault(shape, []).append((first, last))
        return found

    @cached_property
    def broken(self) -> list[Window]:
        """Windows inside which a line ends. Where lines go on with short groups before or behind, it is a column."""
        if len(self.rows) == 1:
            return []
        last_group = len(self.groups) - 1
        found = [window for window in self._windows(0, last_group) if self._is_broken(*window)]
        if sum(self.sizes) <= MOST_DIGITS and (0, last_group) not in found:
            found.append((0, last_group))
        return [window for window in found if self._free(*window) and not self._is_amount(*window)]

    def span(self, first: int, last: int) -> tuple[int, int]:
        return self.groups[first][0], self.groups[last][1]

    def digits(self, first: int, last: int) -> str:
        return "".join(self.text[start:end] for start, end in self.groups[first : last + 1])

    def cuts(self, first: int, last: int) -> frozenset[int]:
        """After how many digits something stands that is more than a break."""
        found: list[int] = []
        total = 0
        for i in range(first, last):
            total += self.sizes[i]
            if not _BREAK.search(self.gaps[i + 1]):
                found.append(total)
        return frozenset(found)

    def divided_by(self, dividers: str, first: int, last: int) -> bool:
        return not "".join(self.gaps[first + 1 : last + 1]).strip(dividers + SOFT)

    def _windows(self, begin: int, end: int) -> Iterator[Window]:
        for first in range(begin, end + 1):
            total = 0
            for last in range(first, min(end + 1, first + _MOST_GROUPS)):
                total += self.sizes[last]
                if total > MOST_DIGITS:
                    break
                if total >= LEAST_DIGITS:
                    yield first, last

    def _free(self, first: int, last: int) -> bool:
        """No letter touches it, and it is no part of a decimal number."""
        if self.gaps[first] == "." or self.gaps[last + 1] == ".":
            return False
        return apart(self.text, *self.span(first, last))

    def _unlisted(self, shape: Shape, first: int, row: Window) -> bool:
        begin, end = row
        last = first + len(shape) - 1
        before = first > begin and self.sizes[first - 1] == shape[0]
        behind = last < end and self.sizes[last + 1] == shape[-1]
        if not (before or behind):
            return True
        return (first - begin) % len(shape) == 0 and self.sizes[begin : end + 1] == shape * (
            (end + 1 - begin) // len(shape)
        )

    def _is_broken(self, first: int, last: int) -> bool:
        breaks = sum(1 for gap in self.gaps[first + 1 : last + 1] if _BREAK.search(gap))
        return 0 < breaks <= _MOST_BREAKS and not self._goes_on(first - 1, first) and not self._goes_on(last + 1, last)

    def _goes_on(self, neighbour: int, edge: int) -> bool:
        """Whether the group beside the window belongs to the same list."""
        if not 0 <= neighbour < len(self.groups):
            return False
        if _BREAK.search(self.gaps[max(neighbour, edge)]):
            return self.sizes[neighbour] < LEAST_DIGITS
        return self.sizes[neighbour] == self.sizes[edge]

    def _is_amount(self, first: int, last: int) -> bool:
        """1 234 567 890 with spaces that do not break."""
        gaps = set(self.gaps[first + 1 : last + 1])
        sizes = self.sizes[first : last + 1]
        return gaps == {"\u00a0"} and len(sizes) > 2 and sizes[0] <= 3 and set(sizes[1:]) == {3}


def find_runs(text: str) -> Iterator[Run]:
    for match in _RUN.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, *match.span())]
        yield Run(text, groups, ["", *(text[left[1] : right[0]] for left, right in pairwise(groups)), ""])
