"""Indian mobile numbers, with and without the country's code or the trunk zero."""

import re
from collections.abc import Iterator

from app.privacy.divided import Divided
from app.privacy.entity import Span
from app.privacy.folding import Folded
from app.privacy.labels import OTHER
from app.privacy.numbers import Number, Rule, divided, number
from app.privacy.runs import Shape

_MOBILE = re.compile(r"(?:(?:00)?91|0)?[6-9][0-9]{9}")
_PAIRS = (2, 2, 2, 2, 2)
_SHAPES = ((10,), (5, 5), (4, 6), (3, 3, 4), (4, 3, 3), (3, 4, 3), (5, 3, 2), _PAIRS)
_DIVIDED = frozenset({(5, 5), (3, 3, 4), (4, 3, 3), (3, 4, 3), _PAIRS})
_TOUCHED = re.compile(
    r"(?<![A-Za-z])(?:ph|phone|tel|mob|mobile|cell|whatsapp)((?:\+?91|0)?[6-9][0-9]{9})(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])(\+?(?:91|0)?[6-9][0-9]{9})(?:ext|x)[0-9]{1,5}(?![0-9A-Za-z])",
    re.IGNORECASE,
)
"""A word for it before, an extension behind."""
_PREFIXES = (1, 2, 4)
"""Lengths of 0, 91 and 0091, before the number or written together with its first group."""


def _shapes() -> frozenset[Shape]:
    found: set[Shape] = set(_SHAPES)
    for shape in _SHAPES:
        for prefix in _PREFIXES:
            found |= {(prefix, *shape), (prefix + shape[0], *shape[1:])}
    return frozenset(found)


def _mobile(candidate: Number) -> bool:
    if _MOBILE.fullmatch(candidate.digits) is None:
        return False
    if candidate.international or candidate.labelled("phone"):
        return True
    paired = tuple(map(len, candidate.groups[-5:])) == _PAIRS  # with spaces it is a row of small numbers
    return candidate.shaped and (not paired or "-" in candidate.text[candidate.start : candidate.end])


def _divided(row: Divided) -> bool:
    """A point between two groups is a decimal one unless each has five digits; a tab divides cells."""
    if _MOBILE.fullmatch(row.digits) is None:
        return False
    if row.labelled("phone"):
        return True
    return row.sizes in _DIVIDED and row.divider != "\t" and not row.labelled(OTHER)


def _find_touched(folded: Folded) -> Iterator[Span]:
    """ph9848022338, +919848022338ext5: letters that touch it say what it is."""
    for match in folded.codes(_TOUCHED):
        yield match.span(match.lastindex or 0)


def _last_ten(value: str) -> str:
    return "".join(char for char in value if char.isdigit())[-10:]


_RULE = Rule(_shapes(), _mobile, loose=True, dividers=" -.()")
PHONE = number("PHONE", _RULE, divided(_divided), _find_touched, canonical=_last_ten)
