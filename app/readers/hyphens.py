"""PDFium marks a hyphen at a line end as U+FFFE and drops the line break: "in\\ufffenetwork".

Whether the hyphen belongs to the word is asked of the document itself: does it write "in-network" or
"innetwork" elsewhere? Where it says neither, the majority of its answers decides, or else the hyphen stays.
"""

import re
from collections.abc import Sequence

MARK = "\ufffe"
_SPLIT_WORD = re.compile(rf"(\w+(?:-\w+)*){MARK}(\w+(?:-\w+)*)")
_WORD = re.compile(r"\w+(?:-\w+)*")


def resolve_hyphens(pages: Sequence[str]) -> list[str]:
    marked = [line for page in pages for line in page.splitlines() if MARK in line]
    if not marked:
        return list(pages)
    words = {word.casefold() for page in pages for word in _WORD.findall(page)}
    splits = [(left, right) for line in marked for left, right in _SPLIT_WORD.findall(line)]
    kept = sum(_seen(words, left, "-", right) for left, right in splits)
    dropped = sum(_seen(words, left, "", right) for left, right in splits)
    default = "" if dropped > kept else "-"

    def joined(match: re.Match[str]) -> str:
        left, right = match[1], match[2]
        for glue in ("-", ""):
            if _seen(words, left, glue, right):
                return left + glue + right
        # A digit or a capital after the break is a compound or a number, never a cut word.
        return left + (default if right[0].isalpha() and not right[0].isupper() else "-") + right

    def mended(line: str) -> str:
        return _SPLIT_WORD.sub(joined, line).replace(MARK, "-") if MARK in line else line

    return ["".join(map(mended, page.splitlines(keepends=True))) for page in pages]


def _seen(words: set[str], left: str, glue: str, right: str) -> bool:
    return (left + glue + right).casefold() in words
