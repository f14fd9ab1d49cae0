"""Where a text may be cut: never inside a grapheme cluster (Unicode UAX #29)."""

from collections.abc import Iterator

import regex

_CLUSTER = regex.compile(r"\p{RI}{2}[\p{Grapheme_Extend}\p{GCB=SpacingMark}\u200d]*+|\X")
"""Flags first: `\\X` alone looks back over a whole run of regional indicators: quadratic time."""
_JOINING = regex.compile(
    r"[\p{M}\p{Grapheme_Extend}\p{Emoji_Modifier}\p{Regional_Indicator}\p{Zl}\p{Zp}\u200d\r"
    r"\u1100-\u11ff\ua960-\ua97c\uac00-\ud7fb\p{GCB=Prepend}\p{GCB=SpacingMark}]"
)


class Boundaries:
    """`inside[i]` is 1 where code point i continues the cluster of the one before; None when no one does."""

    __slots__ = ("_inside",)

    def __init__(self, text: str) -> None:
        self._inside: bytearray | None = None
        if (text.isascii() and "\r" not in text) or not _JOINING.search("".join(set(text))):  # each character once
            return
        inside = bytearray(len(text) + 1)
        for match in _CLUSTER.finditer(text):
            start, end = match.span()
            if end - start > 1:
                inside[start + 1 : end] = b"\x01" * (end - start - 1)
        self._inside = inside

    def before(self, position: int) -> int:
        """The nearest boundary at or before the position."""
        if self._inside is None:
            return position
        return self._inside.rfind(0, 0, position + 1)

    def after(self, position: int) -> int:
        """The nearest boundary at or after the position."""
        if self._inside is None:
            return position
        return self._inside.find(0, position)


def graphemes(text: str) -> Iterator[str]:
    return (match.group() for match in _CLUSTER.finditer(text))
