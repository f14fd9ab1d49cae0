"""Sentence boundaries by rules: English, Hindi (danda), Telugu (full stop), CJK; wrapped lines and lists."""

import re
from collections.abc import Iterator

from app.rag.layout import blocks

_STOP = re.compile(r"[.!?…।॥。!?]+[\"'”’»)\]]*")
_WIDE = frozenset("।॥。!?")
"""These end a sentence whatever comes next."""
_WORD_BEFORE = 20
_INSIDE = """
e.g i.e cf vs viz al dr mr mrs ms prof st rs no nos fig figs eq sec ch vol pp p approx dept govt gen col lt
sgt capt rev hon jr sr mt ft smt shri sri డా శ్రీ रु रू डॉ श्री
"""
_ANYWHERE = "etc inc ltd co corp a.m p.m u.s u.k ph.d b.a m.a b.sc m.sc"
_NEVER = frozenset(_INSIDE.split())
"""Abbreviations that another word of the same sentence follows."""
_PERHAPS = frozenset(_ANYWHERE.split())
"""Abbreviations that may also end a sentence: a capital decides."""


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) in code points, without white space at the ends; together all that is not white space."""
    return [span for block in blocks(text) for span in split_block(text, block.start, block.end)]


def split_block(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences of text[start:end], one paragraph; linear time."""
    begin = start
    for match in _STOP.finditer(text, start, end):
        stop = match.end()
        if stop >= end or not _is_end(text, match, begin=begin):
            continue
        yield begin, stop
        begin = _skip_space(text, stop, end)
    if begin < end:
        yield begin, end


def _skip_space(text: str, at: int, end: int) -> int:
    while at < end and text[at].isspace():
        at += 1
    return at


def _is_end(text: str, match: re.Match[str], *, begin: int) -> bool:
    marks, stop = match.group(), match.end()
    if not _WIDE.isdisjoint(marks):
        return True
    if not text[stop].isspace():
        return False
    following = text[stop + 1 : stop + 4].lstrip()[:1]
    if following.islower():
        return False
    if not marks.startswith("."):
        return True
    return not _is_abbreviation(text[max(begin, match.start() - _WORD_BEFORE) : match.start()], following)


def _is_abbreviation(before: str, following: str) -> bool:
    """`before` ends where the full stop is."""
    words = before.split()
    if not words:
        return True
    word = words[-1].lstrip("(\"'“‘[").lower()
    if word in _NEVER:
        return True
    if len(words) == 1 and word.isdecimal() and len(word) <= 3 and before[:1].isdigit():
        return True
    initial = len(word) == 1 and word.isascii() and word.isalpha() and word != "i"
    if initial or word in _PERHAPS:
        return initial or not following.isupper()
    return False
