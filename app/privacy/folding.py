"""A text as the recognisers read it: digits of every script are ASCII, marks that nobody sees are gone.

Full-width forms become ASCII, too, dashes and spaces one of a kind. `Folded.original` leads back to the text itself.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from app.privacy.characters import GAP
from app.privacy.divided import Divided, find_divided
from app.privacy.runs import Rows, find_rows

_ESCAPES = {"%20": "\u00a0", "%2b": "+", "%2d": "-", "%40": "@"}
_NEAR = 40, 64
"""How far a code reaches before and behind a place where letter and digit meet."""


@lru_cache(maxsize=8192)
def _same_length(char: str) -> str | None:
    """What it is read as, one character: of digits, full-width forms, spaces, dashes, ends of lines."""
    code, category = ord(char), unicodedata.category(char)
    if code < 0x80:
        return None
    if 0xFF01 <= code < 0xFF5F and category != "Nd":
        return chr(code - 0xFEE0)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category == "Zs":
        return "\u00a0"
    if category == "Pd" or code == 0x2212:
        return "-"
    return "\n" if category in ("Zl", "Zp") or code == 0x85 else None


@lru_cache(maxsize=8192)
def _is_unseen(char: str) -> bool:
    code = ord(char)
    return code >= 0x80 and (unicodedata.category(char) == "Cf" or any(code in codes for codes in _BLANK))


_BLANK = (
    (0x34F, 0x115F, 0x1160, 0x3164), range(0x180B, 0x180E), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0),
)  # fmt: skip
"""Joiners, fillers and variation selectors, which no category tells."""
_ESCAPED = re.compile("%(?:20|2[BbDd]|40)")
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
    def rows(self) -> Rows:
        return find_rows(self.text)

    @cached_property
    def divided(self) -> list[Divided]:
        return find_divided(self.text)

    @cached_property
    def _regions(self) -> list[tuple[int, int]]:
        before, behind = _NEAR
        regions: list[tuple[int, int]] = []
        begin = end = -1
        for match in _CODES.finditer(self.text):
            at = match.start()
            if at - before > end:
                if end >= 0:
                    regions.append((begin, end))
                begin = at - before
            end = at + behind
        regions.append((begin, end))
        return [(max(0, begin), end) for begin, end in regions if end >= 0]


def fold(text: str) -> Folded:
    """Asks first which characters occur at all: most texts hold hardly any that matter."""
    plain = text
    places: list[tuple[int, int, str]] = []
    if not text.isascii():
        occurring = set(text)
        for char in occurring:
            read_as = _same_length(char)
            if read_as is not None:
                plain = plain.replace(char, read_as)
        unseen = {char for char in occurring if _is_unseen(char)}
        if unseen:
            places += ((*match.span(), "") for match in re.finditer(f"[{''.join(sorted(unseen))}]+", plain))
    if "%" in text:
        places += ((*match.span(), _ESCAPES[match.group().lower()]) for match in _ESCAPED.finditer(plain))
    return _without(plain, sorted(places)) if places else Folded(plain, [])


def _without(text: str, places: list[tuple[int, int, str]]) -> Folded:
    """With what each place stands for, one character or none."""
    parts: list[str] = []
    missing: list[int] = []
    at = length = 0
    for start, end, stands_for in places:
        parts += (text[at:start], stands_for)
        length += start - at + len(stands_for)
        missing += [length] * (end - start - len(stands_for))
        at = end
    return Folded("".join([*parts, text[at:]]), missing)
