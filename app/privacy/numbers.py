"""Kinds of numbers: how their groups are written, and what else makes a row of digits one of them.

A number is taken as it is written: its groups must be those of a shape that its kind has, so that years in a row or a
longer number do not become one. Whoever writes digit by digit is understood, too. A line may end anywhere inside.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from app.privacy.divided import Divided
from app.privacy.entity import Entity, Span
from app.privacy.folding import Folded
from app.privacy.labels import labelled
from app.privacy.runs import Run, Shape, Window

_DIGITS = re.compile("[0-9]+")


@dataclass(slots=True)
class Number:
    """Not frozen, because there may be very many.

    `shaped`: its groups are those of a shape. `international`: a plus stands before it.
    """

    text: str
    start: int
    end: int
    digits: str
    shaped: bool
    international: bool

    @property
    def groups(self) -> list[str]:
        return _DIGITS.findall(self.text, self.start, self.end)

    def labelled(self, kind: str) -> bool:
        return labelled(self.text, self.start, self.end, kind)


@dataclass(frozen=True)
class Rule:
    """`loose`: in any grouping, too, when nothing else stands in the row; `accepts` then sees `shaped` False."""

    shapes: frozenset[Shape]
    accepts: Callable[[Number], bool]
    loose: bool = False
    dividers: str = " -"

    def find(self, folded: Folded) -> Iterator[Span]:
        rows = folded.rows
        for shape in self.shapes & rows.shaped.keys():
            yield from self._accepted(rows.shaped[shape])
        for shape in self.shapes & rows.lists.keys():
            for windows in rows.lists[shape]:
                spans = list(self._accepted(windows))
                if len(spans) == len(windows):  # or it is a row of years
                    yield from spans
        for count in rows.spelled:
            if (count,) in self.shapes:
                yield from self._accepted(rows.spelled[count])
        if self.loose:
            others = (place for place in rows.whole if place[0].shape(place[1]) not in self.shapes)
            yield from self._accepted(others, shaped=False)

    def find_broken(self, folded: Folded) -> Iterator[Span]:
        """Those inside which a line ends."""
        return self._accepted((run, window) for run, window in folded.rows.broken if self._fits(run, window))

    def _accepted(self, windows: Iterable[tuple[Run, Window]], *, shaped: bool = True) -> Iterator[Span]:
        for run, window in windows:
            if run.divided_by(self.dividers, *window):
                start, end = run.span(*window)
                plus = run.text[start - 1 : start] == "+"
                if self.accepts(Number(run.text, start, end, run.digits(*window), shaped, plus)):
                    yield start - plus, end

    def _fits(self, run: Run, window: Window) -> bool:
        shape = run.shape(window)
        if shape in self.shapes:
            return True
        if run.is_amount(*window):
            return False
        total = sum(shape)
        return any(run.cuts(*window) <= joints for joints in self._joints.get(total, ()))

    @cached_property
    def _joints(self) -> dict[int, list[frozenset[int]]]:
        """By number of digits: after how many of them a shape has a gap."""
        found: dict[int, list[frozenset[int]]] = {}
        for shape in self.shapes:
            joints = frozenset(sum(shape[:i]) for i in range(1, len(shape)))
            found.setdefault(sum(shape), []).append(joints)
        return found


def divided(accepts: Callable[[Divided], bool]) -> Callable[[Folded], Iterator[Span]]:
    """Finds rows with unusual dividers, where the rule of a kind takes them."""
    return lambda folded: (row.span for row in folded.divided if accepts(row))


def number(name: str, rule: Rule, *more: Callable[[Folded], Iterator[Span]], **how: Callable[[str], str]) -> Entity:
    """`more` finds spellings that are no groups of digits."""

    def find(folded: Folded) -> Iterator[Span]:
        yield from rule.find(folded)
        for each in more:
            yield from each(folded)

    return Entity(name, find if more else rule.find, broken=rule.find_broken, **how)
