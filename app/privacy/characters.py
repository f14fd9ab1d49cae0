"""What may stand inside a number or a code, once a text is folded."""

SOFT = "\n\r\u00a0"
"""Anywhere: a line that ends, a space that does not break."""
GAP = " \t\\-" + SOFT
"""Inside a character class: what divides groups."""


def alphanumeric(char: str) -> bool:
    """ASCII only: letters of other scripts are suffixes, as in 9848022338కి."""
    return char.isascii() and char.isalnum()


def apart(text: str, start: int, end: int) -> bool:
    """Whether no letter or digit touches text[start:end]."""
    return not (alphanumeric(text[start - 1 : start]) or alphanumeric(text[end : end + 1]))
