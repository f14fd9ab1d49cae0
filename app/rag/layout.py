"""Lines of extracted text to blocks: headings, list items and paragraphs, with line wraps joined."""

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

_LINE = re.compile(r"\S[^\n\r\f\v\u2028\u2029]*")
_BREAK = re.compile(r"\r\n|[\n\r\f\v\u2028\u2029]")
_BULLET = re.compile(r"[-–—*•‣◦▪●○·+]\s|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{2,4})[.)]\s|\|")
_NUMBERED = re.compile(r"(?:\d{1,3}\.)+\d{0,3}\s|(?:chapter|section|part|appendix|article)\s", re.IGNORECASE)
_MARKDOWN = re.compile(r"#{1,6}\s")
_CLOSERS = "\"'”’»)]}*_"
_TERMINAL = ".!?…।॥。!?:;"
_MAX_HEADING = 110
_WRAPPED_WIDTH = 200
"""Where lines are longer than this, a line is a paragraph and nothing is joined."""


class Kind(IntEnum):
    TEXT = 0
    ITEM = 1
    LEAD = 2
    """A short line that announces what comes next: a question, or one that ends with a colon."""
    HEADING = 3


class Block(NamedTuple):
    """text[start:end] without white space at its ends; `gap` says that a blank line stands before it."""

    start: int
    end: int
    kind: Kind
    gap: bool


class _Line(NamedTuple):
    start: int
    end: int
    text: str
    gap: bool


def blocks(text: str) -> list[Block]:
    """Every character that is not white space is in exactly one block; linear time."""
    lines = list(_lines(text))
    width = _width(lines)
    found: list[Block] = []
    i = 0
    while i < len(lines):
        kind = _kind(lines, i, width)
        end = i
        while end + 1 < len(lines) and _continues(lines, end, kind=kind, width=width):
            end += 1
        found.append(Block(lines[i].start, lines[end].end, kind, lines[i].gap))
        i = end + 1
    return found


def heading_text(block: str) -> str:
    """A heading without its Markdown marks, on one line."""
    return " ".join(block.lstrip("#").split()).rstrip(" #:*").lstrip("* ")


def _lines(text: str) -> Iterator[_Line]:
    last = 0
    for match in _LINE.finditer(text):
        content = match.group().rstrip()
        start = match.start()
        is_next = text[last:start] == "\n"  # as nearly always
        yield _Line(start, start + len(content), content, not is_next and len(_BREAK.findall(text, last, start)) > 1)
        last = start + len(content)


def _width(lines: list[_Line]) -> int:
    """The length that 9 of 10 lines do not pass: where a wrapped line is full."""
    lengths = sorted(len(line.text) for line in lines)
    return lengths[len(lengths) * 9 // 10] if lengths else 0


def _ends_sentence(line: str) -> bool:
    return line.rstrip(_CLOSERS)[-1:] in _TERMINAL if line else False


def _kind(lines: list[_Line], i: int, width: int) -> Kind:
    if _is_row(lines[i].text):
        return Kind.ITEM
    if _is_heading(lines, i, width):
        return Kind.HEADING
    if _BULLET.match(lines[i].text):
        return Kind.ITEM
    return Kind.LEAD if _is_lead(lines, i, width) else Kind.TEXT


def _is_row(line: str) -> bool:
    """Of a table, as the readers write it: never joined with the next row, never a heading."""
    return " | " in line


def _is_lead(lines: list[_Line], i: int, width: int) -> bool:
    line = lines[i].text
    return line[-1] in "?:" and len(line) <= min(_MAX_HEADING, 0.8 * width) and _stands_alone(lines, i, width)


def _is_heading(lines: list[_Line], i: int, width: int) -> bool:
    line = lines[i].text
    if _MARKDOWN.match(line):
        return True
    if len(line) > _MAX_HEADING or not _stands_alone(lines, i, width):
        return False
    if line.rstrip(_CLOSERS)[-1:] in ".!…।॥。!,;|":
        return False
    if _BULLET.match(line) and not _NUMBERED.match(line):
        return False
    return _looks_like_title(line) or (_has_gaps(lines, i) and not any(map(str.islower, line)))


def _stands_alone(lines: list[_Line], i: int, width: int) -> bool:
    """Something follows it that begins anew, and the line before has come to its end."""
    if i + 1 >= len(lines) or lines[i + 1].text[0].islower():
        return False
    if i == 0 or lines[i].gap:
        return True
    before = lines[i - 1].text
    return _ends_sentence(before) or len(before) < 0.6 * width


def _has_gaps(lines: list[_Line], i: int) -> bool:
    return (i == 0 or lines[i].gap) and lines[i + 1].gap


def _looks_like_title(line: str) -> bool:
    words = [word for word in line.split() if any(map(str.isalpha, word))]
    if not words or len(words) > 14 or not line[0].isalnum():
        return False
    if not any(char.islower() or char.isupper() for char in line):
        return False
    long = [word for word in words if len(word) > 3] or words
    capital = sum(next(filter(str.isalpha, word)).isupper() for word in long)
    return capital >= 0.7 * len(long) or (bool(_NUMBERED.match(line)) and words[0][0].isupper())


def _continues(lines: list[_Line], i: int, *, kind: Kind, width: int) -> bool:
    """Whether line i + 1 belongs to the block that line i is in: a wrap, not an end."""
    here, after = lines[i].text, lines[i + 1]
    if after.gap or kind is Kind.HEADING or width > _WRAPPED_WIDTH:
        return False
    if _BULLET.match(after.text) or _MARKDOWN.match(after.text) or _is_row(here) or _is_row(after.text):
        return False
    if after.text[0].islower():
        return True
    if len(here) < (0.8 if _ends_sentence(here) else 0.6) * width:
        return False
    return not _is_heading(lines, i + 1, width)
