"""E-mail addresses as people have them; also with [at] and [dot], and with domains of any script."""

import re
import string
from collections.abc import Iterator

from app.privacy.entity import Entity, Span, lowered
from app.privacy.folding import Folded

_LETTERS = "A-Za-z\\u00c0-\\u02af\\u0370-\\u0963\\u0966-\\u1fff\\u3041-\\ud7ff"
_LABEL = f"[0-9{_LETTERS}](?:[0-9{_LETTERS}_-]{{0,62}}+(?<![_-]))?"
_TOP = f"(?:[Xx][Nn]--[0-9A-Za-z-]{{2,59}}(?<!-)|[A-Za-z]{{2,24}}|(?![A-Za-z])[{_LETTERS}]{{2,24}})(?![0-9A-Za-z])"
_DOMAIN = re.compile(rf"@(?:{_LABEL}(?:\.|\[\.\])){{1,8}}{_TOP}")
"""Also with `[.]`, as answers spell addresses that nobody may click on."""
_AT = re.compile(
    rf"[ ]?[\[({{][ ]?at[ ]?[\])}}][ ]?(?:{_LABEL}[ ]?(?:\.|[\[({{][ ]?dot[ ]?[\])}}])[ ]?){{1,8}}{_TOP}", re.IGNORECASE
)
_LOCAL = string.ascii_letters + string.digits + "._%+-'"
_LONGEST_LOCAL = 64
_SOME_AT = re.compile(r"@(?<=[^\s@]@)(?=[^\s@])")


def _find(folded: Folded) -> Iterator[Span]:
    text = folded.text
    if "@" in text:
        yield from _ends(text, _DOMAIN)
    if any(mark in text for mark in ("at]", "at)", "at}", "AT]", "AT)", "AT}", "at ]", "at )")):
        yield from _ends(text, _AT)


def _ends(text: str, pattern: re.Pattern[str]) -> Iterator[Span]:
    for match in pattern.finditer(text):
        local = _local(text, match.start())
        if local:
            yield match.start() - len(local), match.end()


def _local(text: str, at: int) -> str:
    """What stands before the at sign: ASCII, or letters of another script with their marks."""
    near = text[max(0, at - _LONGEST_LOCAL) : at]
    ascii_ = near[len(near.rstrip(_LOCAL)) :]
    if not ascii_:
        end = len(near)
        while end and (near[end - 1] in _LOCAL or _is_foreign(near[end - 1])):
            end -= 1
        ascii_ = near[end:]
    return ascii_.lstrip(".'-%")


def _is_foreign(char: str) -> bool:
    return re.match(f"[{_LETTERS}]", char) is not None


def _with_plain_dots(value: str) -> str:
    return lowered(value).replace("[.]", ".")


EMAIL = Entity("EMAIL", _find, canonical=_with_plain_dots)
