"""Numbers whose groups something unusual divides: 98480/22351, 2345_6789_0124.

A point, a slash, a low line, a tab or a middle dot, the same throughout and once between two groups. What stands there
may be a decimal number, a path or two cells of a table: the rule of a kind decides, and only over the whole row.
"""

import re
from dataclasses import dataclass

from app.privacy.labels import labelled
from app.privacy.runs import LEAST_DIGITS, MOST_DIGITS, Shape

_DIVIDERS = "./_\t\u00b7\u30fb\uff65"
_ROW = re.compile(
    rf"[0-9](?<![0-9A-Za-z{_DIVIDERS}].)[0-9]{{1,18}}+([{_DIVIDERS}])[0-9]{{2,19}}+(?:\1[0-9]{{2,19}}+){{0,6}}+"
    rf"(?![0-9A-Za-z_]|[{_DIVIDERS}][0-9])",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Divided:
    text: str
    start: int
    end: int
    digits: str
    sizes: Shape
    divider: str

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.end

    def labelled(self, kind: str) -> bool:
        return labelled(self.text, self.start, self.end, kind)


def find_divided(text: str) -> list[Divided]:
    """Those of as many digits as a number of any kind may have."""
    found: list[Divided] = []
    for match in _ROW.finditer(text):
        groups = match.group().split(match.group(1))
        sizes = tuple(map(len, groups))
        if LEAST_DIGITS <= sum(sizes) <= MOST_DIGITS:
            found.append(Divided(text, *match.span(), "".join(groups), sizes, match.group(1)))
    return found
