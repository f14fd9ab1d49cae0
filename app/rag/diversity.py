"""Which of the best passages are shown: not the same one twice, and not one page five times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class Place:
    """Of a passage: what it says, its document, its position and page there."""

    text: str
    document: Any
    index: int
    page: int | None


T = TypeVar("T")


def diverse(hits: Sequence[tuple[T, Place]], count: int) -> list[T]:
    """`count` of `hits`, which are ordered best first; the order stays.

    Passages of the same page as a better one, or next to it where there are no pages, are taken only when others run
    out: they are context of the better one. After these, those that say the same as a better one.
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
    if one.document != other.document or one.page != other.page:
        return False
    return one.page is not None or abs(one.index - other.index) <= 1
