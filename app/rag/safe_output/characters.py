from html import unescape
from typing import ClassVar

import regex

from app.rag.safe_output.stage import Stage

_GONE = regex.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\r\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Not seen, but able to hide a word from whoever looks for it; and what later stages mark approved text with."""
_SPACES = regex.compile(r"[\v\f\x85\u2028\u2029]")
_JOINERS = regex.compile(r"[\u200c\u200d\ufe00-\ufe0f]")
"""Needed in Indic words and emoji; there, they stand behind a character that is not ASCII."""
_REFERENCE = regex.compile(r"&(?:#(?:[xX][0-9A-Fa-f]++|[0-9]++)(?:;|(?=[^;]))|[A-Za-z][A-Za-z0-9]{1,31}+;)")
_MARKUP = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;"}


class Characters(Stage):
    """Drops what is invisible and replaces references to ASCII characters (`&#58;`, `&colon;`) by what they stand for.

    Those that stand for markup stay as they are, and so do letters and signs beyond ASCII.
    """

    start: ClassVar[regex.Pattern[str]] = regex.compile(rf"&|{_JOINERS.pattern}")
    longest: ClassVar[int] = 40

    def __init__(self) -> None:
        super().__init__()
        self._joins = False

    def feed(self, text: str) -> str:
        return super().feed(without_invisible(text))

    def resolve(self, at: int) -> tuple[str, int]:
        if self._text[at] != "&":
            return self._joiner(at), at + 1
        found = self.match(_REFERENCE, at)
        if found is not None:
            return _decoded(found.group()), found.end()
        return ("& " if self._text[at + 1] == "#" else "&"), at + 1

    def _joiner(self, at: int) -> str:
        before = self._text[at - 1 : at]
        if not _JOINERS.fullmatch(before):
            self._joins = not before.isascii()
        return self._text[at] * self._joins


def without_invisible(text: str) -> str:
    """But with joiners: only `Characters` knows what they stand behind."""
    return str(_SPACES.sub(" ", _GONE.sub("", text)))


def _decoded(reference: str) -> str:
    char = unescape(reference)
    if char.isascii() and char != reference:
        return _MARKUP.get(char) or _GONE.sub("", char).replace("\n", " ")
    return "" if _GONE.fullmatch(char) or _JOINERS.fullmatch(char) else reference
