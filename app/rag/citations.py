"""Markers in an answer, [1], [1][2] or [1, 2], and whether the passages they name bear the sentence out."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from app.rag.evidence import Evidence, evidence, quotation
from app.rag.markers import GROUP, MARKER, MarkerFilter, marker_numbers, strip_unknown
from app.rag.passages import Passage
from app.rag.sentences import sentences

__all__ = ["Citation", "Claim", "MarkerFilter", "bar", "blackened", "claims", "strip_unknown", "supports", "verify"]

_BAR = "███████ "
_EDGES = " \t\n.,;:!?।"
LONGEST_QUOTATION = 4000
"""Code points before a marker that are compared with the passage word for word."""


@dataclass(frozen=True, slots=True)
class Citation:
    """content[start:end], in code points, is what passage `n` is cited for; the marker stands behind it."""

    n: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A citation before it is believed, with the best place for it in the passage."""

    citation: Citation
    evidence: Evidence


def claims(content: str, passages: Sequence[Passage]) -> list[Claim]:
    """One for each marker of a passage that exists, in order."""
    by_number = {passage.n: passage for passage in passages}
    found: list[Claim] = []
    last_end = 0
    for start, end, marker_end, cited in _cited_spans(content):
        found += [_claim(content, by_number[n], (last_end, start, end)) for n in cited if n in by_number]
        last_end = marker_end
    return found


def verify(content: str, passages: Sequence[Passage]) -> list[Citation]:
    """The citations that hold by their words alone."""
    return [claim.citation for claim in claims(content, passages) if claim.evidence.by_words]


def supports(passage: Passage, sentence: str) -> bool:
    """By words alone."""
    return evidence(sentence, passage.title, passage.text).by_words


def blackened(content: str, cited: Set[int]) -> str:
    """With what is cited for one of these passages made unreadable, all of it since the marker before; as long as
    before, so that offsets still fit."""
    last_end = 0
    for start, end, marker_end, numbers_ in list(_cited_spans(content)):
        if not cited.isdisjoint(numbers_):
            begin = _quotation_start(content, last_end, start)
            content = content[:begin] + bar(end - begin) + content[end:]
        last_end = marker_end
    return content


def bar(length: int) -> str:
    """Says nothing of the words that it covers."""
    return (_BAR * (length // len(_BAR) + 1))[:length]


def _claim(content: str, passage: Passage, span: tuple[int, int, int]) -> Claim:
    """A quotation may be longer than the sentence before the marker: it begins behind the marker before."""
    before, start, end = span
    for begin in dict.fromkeys((_quotation_start(content, before, start), start)):
        place = quotation(content[begin:end], passage.text) if end - begin <= LONGEST_QUOTATION else None
        if place is not None:
            return Claim(Citation(passage.n, begin, end), Evidence(*place, shared=1.0, verbatim=True))
    return Claim(Citation(passage.n, start, end), evidence(content[start:end], passage.title, passage.text))


def _quotation_start(content: str, last_end: int, start: int) -> int:
    """The first character behind the marker before that is not white space."""
    between = content[last_end:start]
    return last_end + len(between) - len(between.lstrip())


def _cited_spans(content: str) -> Iterator[tuple[int, int, int, list[int]]]:
    """(start, end, end of the markers, numbers) of each run of markers; from the sentence's start or the run before."""
    spans = sentences(MARKER.sub(lambda match: " " * len(match.group()), content))
    at = last_end = 0
    for match in GROUP.finditer(content):
        while at + 1 < len(spans) and spans[at + 1][0] < match.start():
            at += 1
        if not spans or spans[at][0] >= match.start():
            continue
        start, end = max(spans[at][0], last_end), min(spans[at][1], match.start())
        last_end = match.end()
        text = content[start:end]
        if text.strip(_EDGES):
            left = start + len(text) - len(text.lstrip(_EDGES))
            yield left, start + len(text.rstrip()), match.end(), marker_numbers(match.group())
