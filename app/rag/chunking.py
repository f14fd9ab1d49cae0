"""Pages of text to chunks that an embedding model can take whole.

A chunk is a slice of the document's text: it can be shown, highlighted and cited by its offsets alone. Cuts
are tried in this order: headings, paragraphs, sentences and lines, words, grapheme clusters. Linear time; the
memory beside the result does not grow with the size of a page.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple

from app.languages import detect
from app.rag.graphemes import Boundaries
from app.rag.layout import Kind, blocks, heading_text
from app.rag.sentences import split_block
from app.rag.slabs import PAGE_BREAK, Slab, SlabCutter

TokenSpans = Callable[[str], list[tuple[int, int]]]
TARGET_TOKENS = 160
OVERLAP_TOKENS = 0
_MAX_HEADING = 200


class Cut(IntEnum):
    """How good a place is for a cut, worst first."""

    GRAPHEME = 0
    WORD = 1
    AFTER_HEADING = 2
    SENTENCE = 3
    PARAGRAPH = 4
    GAP = 5
    HEADING = 6


_BONUS = {
    Cut.GRAPHEME: -2.0,
    Cut.WORD: -1.0,
    Cut.AFTER_HEADING: -0.8,
    Cut.SENTENCE: 0.0,
    Cut.PARAGRAPH: 0.25,
    Cut.GAP: 0.35,
    Cut.HEADING: 0.6,
}
"""Weighed against the distance from the target, as a share of the target."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text` is full_text[char_start:char_end] where full_text joins the pages with a form feed."""

    index: int
    page: int | None
    char_start: int
    char_end: int
    text: str
    token_count: int
    heading: str | None
    lang: str


@dataclass(frozen=True)
class _Sizes:
    target: int
    limit: int
    overlap: int

    @cached_property
    def least(self) -> int:
        return max(1, self.target // 3)

    @cached_property
    def most(self) -> int:
        return min(self.limit, self.target + self.target // 4)


class _Place(NamedTuple):
    """A place where the slab may be cut; `tokens` counts those before it."""

    at: int
    cut: Cut
    tokens: int


class Splitter:
    """Cuts while the text comes in: pages begin, pieces of any size follow, chunks come out as soon as they are sure.

    `max_tokens` bounds every chunk, one grapheme cluster that is larger alone excepted; special tokens do not count.
    `overlap_tokens`: when a paragraph is cut, its last sentence is repeated if it is not larger than this.
    """

    def __init__(
        self,
        token_spans: TokenSpans,
        *,
        max_tokens: int,
        target_tokens: int = TARGET_TOKENS,
        overlap_tokens: int = OVERLAP_TOKENS,
        default_lang: str = "en",
    ) -> None:
        self._token_spans = token_spans
        self._sizes = _Sizes(min(target_tokens, max_tokens), max_tokens, min(overlap_tokens, target_tokens // 3))
        self._default_lang = default_lang
        self._count = 0
        self._heading: str | None = None
        self._page: int | None = None
        self._offset = 0
        self._length = 0
        self._cutter: SlabCutter | None = None

    def begin_page(self, number: int | None) -> list[Chunk]:
        """Chunks of the page before."""
        found = self.finish()
        self._page, self._cutter = number, SlabCutter()
        return found

    def feed(self, text: str) -> list[Chunk]:
        if self._cutter is None:
            raise RuntimeError("no page was begun")
        self._length += len(text)
        return [chunk for slab in self._cutter.feed(text) for chunk in self._cut(slab)]

    def finish(self) -> list[Chunk]:
        """The rest, at the end of the document."""
        if self._cutter is None:
            return []
        found = [*self._cut(self._cutter.finish())]
        self._offset += self._length + len(PAGE_BREAK)
        self._length, self._cutter = 0, None
        return found

    def _cut(self, slab: Slab) -> Iterator[Chunk]:
        work = _Work(slab, self._token_spans, self._sizes)
        for start, end, tokens in work.pieces():
            self._heading = work.heading_at(start, self._heading)
            text = slab.text[start:end]
            begin = self._offset + slab.start + start
            lang = detect(text, self._default_lang)
            yield Chunk(self._count, self._page, begin, begin + len(text), text, tokens, self._heading, lang)
            self._count += 1
        self._heading = work.heading_at(len(slab.text), self._heading)


def split(pages: Sequence[tuple[int | None, str]], token_spans: TokenSpans, **options: Any) -> list[Chunk]:
    """All chunks of a document that is in memory; `options` as for Splitter."""
    splitter = Splitter(token_spans, **options)
    found: list[Chunk] = []
    for number, text in pages:
        found += splitter.begin_page(number)
        found += splitter.feed(text)
    return found + splitter.finish()


class _Work:
    """One slab being cut; offsets count from the slab's start."""

    def __init__(self, slab: Slab, token_spans: TokenSpans, sizes: _Sizes) -> None:
        self._text = slab.text
        self._count = token_spans
        self._sizes = sizes
        self._edges = Boundaries(slab.text)
        spans = token_spans(slab.text)
        self._starts = _token_starts(spans)
        self._estimated = len(self._starts) > len(spans)
        self._headings: list[tuple[int, str]] = []

    def heading_at(self, position: int, default: str | None) -> str | None:
        """The nearest heading that begins at or before the position."""
        i = bisect_right(self._headings, position, key=lambda item: item[0])
        return self._headings[i - 1][1] if i else default

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """(start, end, tokens) of each chunk."""
        places = self._places()
        first = 0
        while first < len(places) - 1:
            last = _choose(places, first, self._sizes)
            yield from self._fit(places[first].at, places[last].at, places[last].tokens - places[first].tokens)
            first = self._next_start(places, first, last)

    def _next_start(self, places: list[_Place], first: int, last: int) -> int:
        back = last - 1
        inside = places[last].cut is Cut.SENTENCE and back > first
        small = places[last].tokens - places[back].tokens <= self._sizes.overlap
        return back if inside and small and last < len(places) - 1 else last

    def _fit(self, start: int, end: int, tokens: int) -> Iterator[tuple[int, int, int]]:
        """Counts anew where the estimate may be wrong, and halves what is too large after all."""
        start, end = self._trim(start, end)
        if start >= end:
            return
        if self._uncertain(start, end, tokens):
            tokens = len(self._count(self._text[start:end]))
        middle = self._edges.before((start + end) // 2)
        if middle <= start:
            middle = self._edges.after(start + 1)
        if tokens <= self._sizes.limit or middle >= end:
            yield start, end, tokens
            return
        yield from self._fit(start, middle, self._sizes.limit)
        yield from self._fit(middle, end, self._sizes.limit)

    def _uncertain(self, start: int, end: int, tokens: int) -> bool:
        text = self._text
        cut_word = (start > 0 and not text[start - 1].isspace()) or (end < len(text) and not text[end].isspace())
        return self._estimated or cut_word or tokens == 0 or tokens > 0.9 * self._sizes.limit

    def _trim(self, start: int, end: int) -> tuple[int, int]:
        text = self._text[start:end]
        if not text.strip():
            return start, start
        left = start + len(text) - len(text.lstrip())
        right = start + len(text.rstrip())
        return max(start, self._edges.before(left)), min(end, self._edges.after(right))

    def _places(self) -> list[_Place]:
        places = [_Place(0, Cut.HEADING, 0)]
        for at, cut in self._cuts():
            at = self._edges.before(at)
            if at > places[-1].at:
                places.append(_Place(at, cut, bisect_left(self._starts, at)))
        places.append(_Place(len(self._text), Cut.HEADING, len(self._starts)))
        return places

    def _cuts(self) -> Iterator[tuple[int, Cut]]:
        """In order; every one at the first character of a block, sentence, word or cluster."""
        after_heading = False
        for block in blocks(self._text):
            is_heading = block.kind is Kind.HEADING
            cut = Cut.HEADING if is_heading else Cut.GAP if block.gap else Cut.PARAGRAPH
            if is_heading:
                self._headings.append((block.start, heading_text(self._text[block.start : block.end])[:_MAX_HEADING]))
            for start, end in split_block(self._text, block.start, block.end):
                yield start, Cut.AFTER_HEADING if after_heading else cut
                yield from self._cuts_inside(start, end)
                cut, after_heading = Cut.SENTENCE, False
            after_heading = block.kind >= Kind.LEAD

    def _cuts_inside(self, start: int, end: int) -> Iterator[tuple[int, Cut]]:
        """Places inside a sentence that is larger than a chunk should be."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        step = max(1, self._sizes.target // 4)
        for i in range(first + step, last, step) if last - first > self._sizes.target else ():
            at = self._starts[i]
            space = _last_space(self._text, self._starts[i - step], at)
            yield (space, Cut.WORD) if space else (at, Cut.GRAPHEME)


def _last_space(text: str, start: int, end: int) -> int | None:
    """The start of the last word that begins in text[start + 1:end + 1]."""
    for at in range(end, start, -1):
        if text[at - 1].isspace() and not text[at].isspace():
            return at
    return None


_LONG_TOKEN = 48
_CODE_POINTS_A_TOKEN = 8


def _token_starts(spans: list[tuple[int, int]]) -> list[int]:
    """WordPiece makes one unknown token of a word of 100 kB: count long tokens by their length."""
    starts: list[int] = []
    for start, end in spans:
        if end - start > _LONG_TOKEN:
            starts.extend(range(start, end, _CODE_POINTS_A_TOKEN))
        else:
            starts.append(start)
    return starts


def _choose(places: list[_Place], first: int, sizes: _Sizes) -> int:
    """The index of the best place to end the chunk that begins at places[first]."""
    begin, total = places[first].tokens, places[-1].tokens
    if total - begin <= sizes.most and total - begin <= sizes.target:
        return len(places) - 1
    best, best_score = first + 1, float("-inf")
    for i in range(first + 1, len(places)):
        size = places[i].tokens - begin
        if size > sizes.limit and i > first + 1:
            break
        score = _score(places[i], size, total - places[i].tokens, sizes=sizes)
        if score > best_score:
            best, best_score = i, score
    return best


def _score(place: _Place, size: int, rest: int, *, sizes: _Sizes) -> float:
    score = _BONUS[place.cut] - abs(size - sizes.target) / sizes.target
    if size < sizes.least or size > sizes.most:
        score -= 1.5
    if 0 < rest < sizes.least:
        score -= 0.5
    return score
