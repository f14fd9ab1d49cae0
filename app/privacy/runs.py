"""Digits that stand in a row: their groups, and which of them might be one number.

All that rules ask is worked out once for a row, so that many rules cost little more than one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

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


@dataclass(slots=True)
class Run:
    """Not frozen, because there may be very many."""

    text: str
    groups: list[tuple[int, int]]
    sizes: Shape
    gaps: list[str]
    """`gaps[i]` stands before group i; empty before the first and behind the last."""

    breaks: list[int]
    """`breaks[i]`: how many of the gaps before group i hold the end of a line or a space that does not break."""

    def rows(self) -> list[Window]:
        """Groups between which no line ends."""
        if not self.breaks[-1]:
            return [(0, len(self.groups) - 1)]
        starts = [i for i in range(1, len(self.groups)) if self.breaks[i] > self.breaks[i - 1]]
        return [(first, behind - 1) for first, behind in pairwise([0, *starts, len(self.groups)])]

    def shaped(self, row: Window) -> Iterator[tuple[Shape, Window]]:
        """Windows of a few groups in a row; not those that are part of a longer list of such groups."""
        for first, last in self._windows(*row):
            if (first == last or self._unlisted(first, last, row)) and self._free(first, last):
                yield self.sizes[first : last + 1], (first, last)

    def lists(self, row: Window) -> Iterator[tuple[Shape, list[Window]]]:
        """A row that is nothing but numbers of one shape, such as two of 4-4-4."""
        begin, end = row
        sizes = self.shape(row)
        for length in range(2, _MOST_GROUPS + 1):
            count, rest = divmod(len(sizes), length)
            if not rest and count > 1 and sizes == sizes[:length] * count:
                yield sizes[:length], [(first, first + length - 1) for first in range(begin, end, length)]

    def broken(self) -> list[Window]:
        """Windows inside which a line ends. Where lines go on with short groups before or behind, it is a column."""
        last_group = len(self.groups) - 1
        found = [window for window in self._windows(0, last_group) if self._is_broken(*window)]
        if sum(self.sizes) <= MOST_DIGITS and (0, last_group) not in found:
            found.append((0, last_group))
        return [window for window in found if self._free(*window)]

    def shape(self, window: Window) -> Shape:
        return self.sizes[window[0] : window[1] + 1]

    def span(self, first: int, last: int) -> tuple[int, int]:
        return self.groups[first][0], self.groups[last][1]

    def digits(self, first: int, last: int) -> str:
        if first == last:
            return self.text[slice(*self.groups[first])]
        return "".join([self.text[start:end] for start, end in self.groups[first : last + 1]])

    def cuts(self, first: int, last: int) -> frozenset[int]:
        """After how many digits something stands that is more than a break."""
        breaks, totals = self.breaks, accumulate(self.sizes[first:last])
        return frozenset(total for i, total in enumerate(totals, first) if breaks[i + 1] == breaks[i])

    def divided_by(self, dividers: str, first: int, last: int) -> bool:
        """A single point between two groups is a decimal one."""
        gaps = self.gaps[first + 1 : last + 1]
        return gaps != ["."] and not "".join(gaps).strip(dividers + SOFT)

    def _windows(self, begin: int, end: int) -> Iterator[Window]:
        sizes = self.sizes
        for first in range(begin, end + 1):
            total = 0
            for last, size in enumerate(sizes[first : min(end + 1, first + _MOST_GROUPS)], first):
                total += size
                if total > MOST_DIGITS:
                    break
                if total >= LEAST_DIGITS:
                    yield first, last

    def _free(self, first: int, last: int) -> bool:
        """No letter touches it, and it is no part of a decimal number."""
        if self.gaps[first] == "." or self.gaps[last + 1] == ".":
            return False
        return apart(self.text, *self.span(first, last))

    def _unlisted(self, first: int, last: int, row: Window) -> bool:
        """Not next to one more group of the same length."""
        sizes, (begin, end) = self.sizes, row
        before = first > begin and sizes[first - 1] == sizes[first]
        return not before and not (last < end and sizes[last + 1] == sizes[last])

    def _is_broken(self, first: int, last: int) -> bool:
        breaks = self.breaks[last] - self.breaks[first]
        return 0 < breaks <= _MOST_BREAKS and not (self._goes_on(first - 1, first) or self._goes_on(last + 1, last))

    def _goes_on(self, neighbour: int, edge: int) -> bool:
        """Whether the group beside the window belongs to the same list."""
        if not 0 <= neighbour < len(self.groups):
            return False
        if self.breaks[neighbour] != self.breaks[edge]:
            return self.sizes[neighbour] < LEAST_DIGITS
        return self.sizes[neighbour] == self.sizes[edge]

    def is_amount(self, first: int, last: int) -> bool:
        """1 234 567 890 with spaces that do not break."""
        gaps = set(self.gaps[first + 1 : last + 1])
        sizes = self.sizes[first : last + 1]
        return gaps == {"\u00a0"} and len(sizes) > 2 and sizes[0] <= 3 and set(sizes[1:]) == {3}


@dataclass(frozen=True, slots=True)
class Rows:
    """All runs of a text, by what rules ask for."""

    shaped: dict[Shape, list[tuple[Run, Window]]]
    lists: dict[Shape, list[list[tuple[Run, Window]]]]
    """Rows that are numbers of one shape and nothing else."""
    spelled: dict[int, list[tuple[Run, Window]]]
    """Rows of single digits, by their number."""
    whole: list[tuple[Run, Window]]
    """Other rows of more than one group."""
    broken: list[tuple[Run, Window]]


def find_rows(text: str) -> Rows:
    found = Rows({}, {}, {}, [], [])
    for match in _RUN.finditer(text):
        run = _run(text, *match.span())
        rows = run.rows()
        for row in rows:
            _sort_in(found, run, row)
        if len(rows) > 1:
            found.broken.extend((run, window) for window in run.broken())
    return found


def _sort_in(found: Rows, run: Run, row: Window) -> None:
    shape = run.shape(row)
    total = sum(shape)
    if total < LEAST_DIGITS:
        return
    for window_shape, window in run.shaped(row):
        found.shaped.setdefault(window_shape, []).append((run, window))
    for list_shape, windows in run.lists(row):
        found.lists.setdefault(list_shape, []).append([(run, window) for window in windows])
    if len(shape) > 1 and total <= MOST_DIGITS:
        if len(shape) == total:
            found.spelled.setdefault(total, []).append((run, row))
        else:
            found.whole.append((run, row))


def _run(text: str, start: int, end: int) -> Run:
    groups = [group.span() for group in _GROUP.finditer(text, start, end)]
    sizes = tuple(end - start for start, end in groups)
    gaps = ["", *(text[left[1] : right[0]] for left, right in pairwise(groups)), ""]
    if _BREAK.search(text, start, end):
        breaks = list(accumulate(int(_BREAK.search(gap) is not None) for gap in gaps[:-1]))
    else:
        breaks = [0] * len(groups)
    return Run(text, groups, sizes, gaps, breaks)
