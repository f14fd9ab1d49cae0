"""Kinds of numbers: how their groups are written, and what else makes a row of digits one of them.

A number is taken as it is written: its groups must be those of a shape that its kind has, so that years in a row or a
longer number do not become one. Whoever writes digit by digit is understood, too. A line may end anywhere inside.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from app.privacy.entity import Entity, Span
from app.privacy.folding import Folded
from app.privacy.labels import labelled
from app.privacy.runs import LEAST_DIGITS, MOST_DIGITS, Run, Shape, Window


@dataclass(frozen=True, slots=True)
class Number:
    """`shaped`: its groups are those of a shape. `international`: a plus stands before it."""

    text: str
    start: int
    end: int
    digits: str
    shaped: bool
    international: bool

    def labelled(self, kind: str) -> bool:
        return labelled(self.text, self.start, self.end, kind)


@dataclass(frozen=True)
class Rule:
    """`loose`: in any grouping, too, when nothing else stands in the row; `accepts` then sees `shaped` False."""

    shapes: frozenset[Shape]
    accepts: Callable[[Number], bool]
    loose: bool = False
    dividers: str = " \t-"

    def find(self, folded: Folded) -> Iterator[Span]:
        for run in folded.runs:
            for shape in self.shapes & run.by_shape.keys():
                yield from self._accepted(run, run.by_shape[shape])
            spelled = [row for row in run.rows if self._is_spelled(run, row)]
            yield from self._accepted(run, spelled)
            if self.loose:
                yield from self._accepted(run, run.rows, shaped=False)

    def find_broken(self, folded: Folded) -> Iterator[Span]:
        """Those inside which a line ends."""
        for run in folded.runs:
            yield from self._accepted(run, [window for window in run.broken if self._fits(run, window)])

    def _accepted(self, run: Run, windows: Iterable[Window], *, shaped: bool = True) -> Iterator[Span]:
        for window in windows:
            digits = run.digits(*window)
            if not (LEAST_DIGITS <= len(digits) <= MOST_DIGITS and run.divided_by(self.dividers, *window)):
                continue
            start, end = run.span(*window)
            international = run.text[start - 1 : start] == "+"
            if self.accepts(Number(run.text, start, end, digits, shaped, international)):
                yield start - international, end

    def _is_spelled(self, run: Run, row: Window) -> bool:
        """Digit by digit."""
        first, last = row
        count = last + 1 - first
        return (count,) in self.shapes and set(run.sizes[first : last + 1]) == {1}

    def _fits(self, run: Run, window: Window) -> bool:
        total = sum(run.sizes[window[0] : window[1] + 1])
        return any(run.cuts(*window) <= joints for joints in self._joints.get(total, ()))

    @cached_property
    def _joints(self) -> dict[int, list[frozenset[int]]]:
        """By number of digits: after how many of them a shape has a gap."""
        found: dict[int, list[frozenset[int]]] = {}
        for shape in self.shapes:
            joints = frozenset(sum(shape[:i]) for i in range(1, len(shape)))
            found.setdefault(sum(shape), []).append(joints)
        return found


def number(name: str, rule: Rule, **more: Callable[[str], str]) -> Entity:
    return Entity(name, rule.find, broken=rule.find_broken, **more)
