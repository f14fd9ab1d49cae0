"""Page headers and footers: lines at the edge of pages that say the same on many, or count the pages.

They would be found for every question about the document's name and stand inside sentences that run over a page end.
The first occurrence stays, so no words are lost altogether. Lines are in the order of the text, not of the paper.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

_LEAST_PAGES = 3
_LEAST_SHARE = 0.4
"""Of all pages, for lines that stay the same: even and odd pages may have their own."""
_DEPTH = 8
_LONGEST = 200
_NUMBER = re.compile(r"\d+")
_LIST_ITEM = re.compile(r"\(?0[.)]\s")
_LABEL = re.compile(r"([^\s0]+?)[ .#]*0[.:)]?")
_PAGE_WORDS = frozenset({
    "page", "pg", "p", "pag", "página", "pagina", "seite", "стр", "страница", "పేజీ", "పుట", "पृष्ठ", "पेज",
})  # fmt: skip

Numbers = tuple[int, ...]
T = TypeVar("T")


def without_furniture(pages: Sequence[str]) -> list[str]:
    """As many pages as before; one that would lose more than half of its text stays as it is."""
    lines = [page.splitlines(keepends=True) for page in pages]
    drop: list[set[int]] = [set() for _ in pages]
    if len(pages) >= _LEAST_PAGES:
        _mark(lines, drop, 1)
        _mark(lines, drop, -1)
    return [
        "".join(line for at, line in enumerate(own) if at not in gone) if gone and _is_less(own, gone) else page
        for page, own, gone in zip(pages, lines, drop, strict=True)
    ]


def _is_less(lines: list[str], gone: set[int]) -> bool:
    return 2 * sum(len(lines[at].strip()) for at in gone) <= sum(len(line.strip()) for line in lines)


def _mark(lines: list[list[str]], drop: list[set[int]], step: int) -> None:
    """Line by line from one edge inwards; a page where a line of its own stands at the edge goes no further.

    Pages that are still the same at the greatest depth are copies of each other, not pages with a header.
    """
    inwards = [[at for at in range(len(own))[::step] if own[at].strip()] for own in lines]
    passed = [0] * len(lines)
    candidates: list[set[int]] = [set() for _ in lines]
    for _ in range(_DEPTH):
        edge = {page: own[passed[page]] for page, own in enumerate(inwards) if passed[page] < len(own)}
        for same in _repeated({page: lines[page][at] for page, at in edge.items()}, len(lines)):
            for page in same:
                passed[page] += 1
            for page in same[1:]:
                candidates[page].add(edge[page])
    for page, found in enumerate(candidates):
        if passed[page] < _DEPTH:
            drop[page] |= found


def _repeated(edge: dict[int, str], total: int) -> list[list[int]]:
    """`edge` is the outermost line of each page. The pages of each line that is furniture, in order."""
    groups: defaultdict[str, dict[int, Numbers]] = defaultdict(dict)
    for page, line in edge.items():
        shape = " ".join(line.split()).casefold()
        if len(shape) <= _LONGEST:
            groups[_NUMBER.sub("0", shape)][page] = tuple(map(int, _NUMBER.findall(shape)))
    found = (_counting(shape, group) or _constant(shape, group, total) for shape, group in groups.items())
    return [pages for pages in found if pages]


def _counting(shape: str, group: dict[int, Numbers]) -> list[int]:
    """The pages whose numbers advance with the page or are the same on most: `Page 3 of 90`."""
    slots = range(shape.count("0"))
    ahead = [_most_common(numbers[slot] - page for page, numbers in group.items()) for slot in slots]
    usual = [_most_common(numbers[slot] for numbers in group.values()) for slot in slots]
    if not any(ahead[slot][1] > usual[slot][1] for slot in slots) or _may_be_a_heading(shape):
        return []
    pages = [
        page
        for page, numbers in group.items()
        if all(numbers[slot] in (usual[slot][0], ahead[slot][0] + page) for slot in slots)
    ]
    return pages if len(pages) >= max(_LEAST_PAGES, len(group) / 2) else []


def _may_be_a_heading(shape: str) -> bool:
    """`Question 2` at the top of page 2, or `(2) In the second case`."""
    label = _LABEL.fullmatch(shape)
    is_label = label is not None and any(map(str.isalpha, label[1])) and label[1] not in _PAGE_WORDS
    return is_label or _LIST_ITEM.match(shape) is not None


def _constant(shape: str, group: dict[int, Numbers], total: int) -> list[int]:
    usual, count = _most_common(group.values())
    enough = count >= max(_LEAST_PAGES, _LEAST_SHARE * total) and any(map(str.isalpha, shape))
    return [page for page, numbers in group.items() if numbers == usual] if enough else []


def _most_common(values: Iterable[T]) -> tuple[T, int]:
    return Counter(values).most_common(1)[0]
