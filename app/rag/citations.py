"""Markers in an answer, [1], [1][2] or [1, 2], and whether the passages they name bear the sentence out."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import regex

from app.languages import detect
from app.rag.passages import Passage
from app.rag.sentences import sentences
from app.rag.words import content_terms, numbers

_MARKER = regex.compile(r" ?\[\s?\d{1,3}(?:\s?,\s?\d{1,3}){0,19}\s?\]")
_GROUP = regex.compile(rf"{_MARKER.pattern}(?:\s*{_MARKER.pattern})*")
_NUMBER = regex.compile(r"\d+")
_BAR = "███████ "
ENOUGH_SUPPORTED = 0.6
"""The share of a sentence's different content words that the passage, its title included, must hold."""


@dataclass(frozen=True, slots=True)
class Citation:
    """content[start:end], in code points, is what passage `n` is cited for; the marker stands behind it."""

    n: int
    start: int
    end: int


def verify(content: str, passages: Sequence[Passage]) -> list[Citation]:
    """The citations that hold: the passage exists and supports the sentence that the marker closes."""
    by_number = {passage.n: passage for passage in passages}
    found: list[Citation] = []
    for start, end, cited in _cited_spans(content):
        found.extend(
            Citation(n, start, end) for n in cited if n in by_number and supports(by_number[n], content[start:end])
        )
    return found


def blackened(content: str, cited: Set[int]) -> str:
    """With what is cited for one of these passages made unreadable; as long as before, so that offsets still fit."""
    for start, end, numbers_ in list(_cited_spans(content)):
        if not cited.isdisjoint(numbers_):
            content = content[:start] + bar(end - start) + content[end:]
    return content


def bar(length: int) -> str:
    """Says nothing of the words that it covers."""
    return (_BAR * (length // len(_BAR) + 1))[:length]


def supports(passage: Passage, sentence: str) -> bool:
    """Lexical: enough of its content words, and every number that is written in digits."""
    lang = detect(sentence)
    source = f"{passage.title}\n{passage.text}"
    if not numbers(sentence) <= numbers(source):
        return False
    wanted = set(content_terms(sentence, lang))
    held = wanted.intersection(content_terms(source, lang))
    return bool(wanted) and len(held) >= ENOUGH_SUPPORTED * len(wanted)


def strip_unknown(content: str, known_numbers: Set[int]) -> str:
    """Without the markers of passages that do not exist, nor the space before them; [1, 9] becomes [1]."""

    def rewrite(match: regex.Match[str]) -> str:
        marker: str = match.group()
        cited = _numbers(marker)
        kept = [n for n in cited if n in known_numbers]
        if len(kept) == len(cited):
            return marker
        return f"{' ' * marker.startswith(' ')}[{', '.join(map(str, kept))}]" if kept else ""

    rewritten: str = _MARKER.sub(rewrite, content)
    return rewritten


class MarkerFilter:
    """`strip_unknown` for a text that comes in pieces; holds back only what may be the start of a marker."""

    def __init__(self, known: Set[int]) -> None:
        self._known = known
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        at = _open_marker(text)
        self._held = text[at:]
        return strip_unknown(text[:at], self._known)

    def flush(self) -> str:
        """What is still held: not a marker after all."""
        held, self._held = self._held, ""
        return held


def _open_marker(text: str) -> int:
    """Where the unfinished marker at the end of the text begins; the text's length when there is none."""
    at = text.rfind("[")
    if at >= 0:
        at -= text[:at].endswith(" ")
        if _is_open(text[at:]):
            return at
    return len(text) - text.endswith(" ")


def _is_open(text: str) -> bool:
    match = _MARKER.fullmatch(text, partial=True)
    return match is not None and match.partial


def _numbers(marker: str) -> list[int]:
    return list(dict.fromkeys(int(digits) for digits in _NUMBER.findall(marker)))


def _cited_spans(content: str) -> Iterator[tuple[int, int, list[int]]]:
    """(start, end, numbers) for each run of markers, from the sentence's start or the run before."""
    spans = sentences(_MARKER.sub(lambda match: " " * len(match.group()), content))
    at = last_end = 0
    for match in _GROUP.finditer(content):
        while at + 1 < len(spans) and spans[at + 1][0] < match.start():
            at += 1
        if not spans or spans[at][0] >= match.start():
            continue
        start, end = max(spans[at][0], last_end), min(spans[at][1], match.start())
        last_end = match.end()
        text = content[start:end]
        if text.strip(" \t\n.,;:!?।"):
            left = start + len(text) - len(text.lstrip(" \t\n.,;:!?।"))
            yield left, start + len(text.rstrip()), _numbers(match.group())
