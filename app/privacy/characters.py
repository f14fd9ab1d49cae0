"""What may stand inside a number or a code, once a text is folded."""

import string

SOFT = "\n\r\u00a0"
"""Anywhere: a line that ends, a space that does not break."""
GAP = " \\-" + SOFT
"""Inside a character class: what divides groups. Not a tab: it divides the cells of a table."""


_ALPHANUMERIC = frozenset(string.ascii_letters + string.digits)
"""ASCII only: letters of other scripts are suffixes, as in 9848022338కి."""


def apart(text: str, start: int, end: int) -> bool:
    """Whether no letter or digit touches text[start:end]."""
    return text[start - 1 : start] not in _ALPHANUMERIC and text[end : end + 1] not in _ALPHANUMERIC
