"""Indian mobile numbers, with and without the country's code or the trunk zero."""

import re

from app.privacy.numbers import Number, Rule, number
from app.privacy.runs import Shape

_MOBILE = re.compile(r"(?:(?:00)?91|0)?[6-9][0-9]{9}")
_SHAPES = ((10,), (5, 5), (4, 6), (3, 3, 4), (4, 3, 3), (3, 4, 3))
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
    return candidate.shaped or candidate.international or candidate.labelled("phone")


def _last_ten(value: str) -> str:
    return "".join(char for char in value if char.isdigit())[-10:]


PHONE = number("PHONE", Rule(_shapes(), _mobile, loose=True, dividers=" -.()"), canonical=_last_ten)
