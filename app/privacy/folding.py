"""A text as the recognisers read it: digits of every script are ASCII, marks that nobody sees are gone.

Full-width forms become ASCII, too, dashes and spaces one of a kind. `Folded.original` leads back to the text itself.
"""

import re
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from app.privacy.characters import GAP
from app.privacy.runs import Run, find_runs

_ESCAPES = {"%20": "\u00a0", "%2b": "+", "%2d": "-", "%40": "@"}
_NEAR = 40, 64
"""How far a code reaches before and behind a place where letter and digit meet."""


def _same_length() -> dict[int, str]:
    """Of one character each: digits, full-width forms, spaces, dashes, ends of lines."""
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    for code in range(0x80, sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        if category == "Nd":
            table[code] = str(unicodedata.decimal(chr(code)))
        elif category == "Zs":
            table[code] = "\u00a0"
        elif category == "Pd" or code == 0x2212:
            table[code] = "-"
        elif category in ("Zl", "Zp") or code == 0x85:
            table[code] = "\n"
    return table


def _invisible() -> str:
    codes = [code for code in range(0x80, sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Cf"]
    codes += [0x34F, 0x115F, 0x1160, 0x3164, *range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]
    return "".join(map(chr, codes))


_SAME_LENGTH = _same_length()
_UNSEEN = re.compile(f"[{re.escape(_invisible())}]+")
_UNSEEN_OR_ESCAPED = re.compile(f"{_UNSEEN.pattern}|%(?:20|2[BbDd]|40)")
_CODES = re.compile(
    rf"[0-9](?:(?<=[A-Za-z][0-9])|(?=[A-Za-z])|(?<=[A-Z][{GAP}][0-9])|(?<=[A-Z][{GAP}]{{2}}[0-9])|(?<=[A-Za-z]-[0-9])"
    rf"|(?=[{GAP}][A-Za-z]{{1,3}}[{GAP}]?[0-9]{{4}}))"
)


@dataclass(frozen=True)
class Folded:
    text: str
    _missing: list[int]
    """For each character that was left out, the offset in `text` of what came behind it; ascending."""

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span in the text as it was."""
        return start + bisect_right(self._missing, start), end + bisect_right(self._missing, end - 1)

    def codes(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Matches near a place where a letter meets a digit: everywhere else no code of both can stand."""
        for start, end in self._regions:
            yield from pattern.finditer(self.text, start, end)

    @cached_property
    def runs(self) -> list[Run]:
        return list(find_runs(self.text))

    @cached_property
    def _regions(self) -> list[tuple[int, int]]:
        before, behind = _NEAR
        regions: list[tuple[int, int]] = []
        begin = end = -1
        for match in _CODES.finditer(self.text):
            at = match.start()
            if at - before > end:
                regions.append((begin, end))
                begin = max(0, at - before)
            end = at + behind
        return [*regions[1:], (begin, end)] if end >= 0 else []


def fold(text: str) -> Folded:
    if text.isascii():
        plain, unseen = text, "%" in text
    else:
        plain, unseen = text.translate(_SAME_LENGTH), True
    if not unseen:
        return Folded(plain, [])
    parts: list[str] = []
    missing: list[int] = []
    at = length = 0
    for match in _UNSEEN_OR_ESCAPED.finditer(plain):
        stands_for = _ESCAPES.get(match.group().lower(), "")
        parts += (plain[at : match.start()], stands_for)
        length += match.start() - at + len(stands_for)
        missing += [length] * (match.end() - match.start() - len(stands_for))
        at = match.end()
    return Folded("".join([*parts, plain[at:]]), missing)
