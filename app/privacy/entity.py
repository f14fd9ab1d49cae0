"""What a kind of personal data is: how it is found, and how two spellings of it are known to be the same."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.privacy.characters import GAP, SOFT
from app.privacy.folding import Folded

Span = tuple[int, int]
"""Start and end in the folded text."""
_GAPS = re.compile(rf"[{GAP}.()/_\t\u00b7\u30fb\uff65]+")
_UNITS = {"A": "[A-Z]", "D": "[0-9]", "N": "[A-Z0-9]"}


def joined(value: str) -> str:
    """Without what divides its groups, in capitals."""
    return _GAPS.sub("", value).upper()


def lowered(value: str) -> str:
    return value.lower()


def as_written(value: str) -> str:
    return value


@dataclass(frozen=True, slots=True)
class Entity:
    """`canonical` is given the folded value; values of which it is equal are the same thing."""

    name: str
    """As placeholders have it: capitals and `_`."""
    find: Callable[[Folded], Iterator[Span]]
    broken: Callable[[Folded], Iterator[Span]] | None = None
    """What it finds counts only where nothing else was found: it reads on over the end of a line."""
    canonical: Callable[[str], str] = joined
    display: Callable[[str], str] | None = None
    """For people who may see that there is one, but not which; without it they see the name."""


def code(*parts: str, **units: str) -> re.Pattern[str]:
    """A pattern for a code in groups, each a row of letters: A a capital, D a digit, N either, others as `units` say.

    Between groups spaces and hyphens may stand, and a break anywhere. The first character is what is looked for, and
    only then what is before it: that way the search runs over text at full speed.
    """
    every = _UNITS | units
    broken = f"(?:[{SOFT}][ {SOFT}]{{0,3}})?"
    rows = [broken.join(every.get(letter, letter) for letter in part) for part in parts]
    first = every.get(parts[0][0], parts[0][0])
    whole = f"[{GAP}]{{0,4}}".join(rows)
    return re.compile(f"{first}(?<![0-9A-Za-z]{first}){whole[len(first) :]}(?![0-9A-Za-z])")
