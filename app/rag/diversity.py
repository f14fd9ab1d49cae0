"""Which of the best passages are shown: not the same one twice, and not one page five times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

NEARLY_AS_GOOD = 0.92
"""Of a better passage's score: what comes so near may well be the one that answers."""


@dataclass(frozen=True, slots=True)
class Place:
    """Of a passage: its score, what it says, its document, its position and page there."""

    score: float
    text: str
    document: Any
    index: int
    page: int | None


T = TypeVar("T")


def diverse(hits: Sequence[tuple[T, Place]], count: int) -> list[T]:
    """`count` of `hits`, which are ordered best first; the order stays.

    Those of the same page as a clearly better one, or next to it where there are no pages, are taken only when others
    run out: they are its context. After these, those that say the same as a better one.
    """
    chosen: list[int] = []
    near: list[int] = []
    again: list[int] = []
    said: set[str] = set()
    for number, (_, place) in enumerate(hits):
        words = " ".join(place.text.split()).casefold()
        if words in said:
            again.append(number)
        elif any(_beside(place, hits[other][1]) for other in chosen):
            near.append(number)
        else:
            chosen.append(number)
        said.add(words)
    taken = sorted((chosen + near + again)[:count])
    return [hits[number][0] for number in taken]


def _beside(one: Place, other: Place) -> bool:
    if one.score >= NEARLY_AS_GOOD * other.score:
        return False
    if one.document != other.document or one.page != other.page:
        return False
    return one.page is not None or abs(one.index - other.index) <= 1
