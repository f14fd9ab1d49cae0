"""Where in a passage a sentence is borne out, and how much of it: by its words, numbers, negations and meaning."""

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from app.languages import detect
from app.rag.markers import MARKER
from app.rag.sentences import sentences
from app.rag.words import content_terms, numbers

ENOUGH_SHARED = 0.6
"""The share of a sentence's different content words that the passage, its title included, must hold."""
LEAST_ALIKE = 0.5
"""The cosine with the best run of sentences that it must reach as well, where the model knows the language."""
SHARED_IN_OTHER_WORDS = 0.4
ALIKE_IN_OTHER_WORDS = 0.7
"""Or both of these: a sentence in other words. Measured in docs/citations.md."""
LONGEST_RUN = 2
"""Sentences of a passage that one sentence of an answer may sum up."""
_NEGATION = regex.compile(
    r"\b(?:not|no|never|none|neither|nor|cannot|without|\w+n['’]t)\b|(?<!\p{L})(?:नहीं|नही|ना|न|बिना)(?!\p{L}|\p{M})"
    r"|లేదు|లేవు|కాదు|కావు|లేరు|లేకుండా|కూడదు",
    regex.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """text[start:end] of the passage: the smallest run of sentences that holds most of the sentence's words.

    `shared` is the share of its words that the whole passage holds; `numbers_held` that it holds all its numbers.
    """

    start: int
    end: int
    shared: float
    numbers_held: bool = True
    verbatim: bool = False

    @property
    def by_words(self) -> bool:
        return self.verbatim or (self.numbers_held and self.shared >= ENOUGH_SHARED)

    @property
    def may_hold(self) -> bool:
        return self.verbatim or (self.numbers_held and self.shared >= SHARED_IN_OTHER_WORDS)

    def holds(self, cosine: float, *, negated: bool) -> bool:
        """`cosine` with the nearest run; `negated` when one of the two says no and the other does not."""
        if self.verbatim or not self.may_hold or negated:
            return self.verbatim
        return cosine >= (LEAST_ALIKE if self.shared >= ENOUGH_SHARED else ALIKE_IN_OTHER_WORDS)


def quotation(sentence: str, text: str) -> tuple[int, int] | None:
    """(start, end) of the same words in the text, whatever white space and markers stand between them."""
    wanted, _ = _squeezed(sentence)
    source, places = _squeezed(text)
    found = source.find(wanted) if wanted else -1
    while found >= 0:
        start, end = places[found], places[found + len(wanted) - 1] + 1
        if not (_inside_word(text, start) or _inside_word(text, end)):
            return start, end
        found = source.find(wanted, found + 1)
    return None


def evidence(sentence: str, title: str, text: str) -> Evidence:
    lang = detect(sentence)
    wanted = set(content_terms(sentence, lang))
    source = f"{title}\n{text}"
    shared = len(wanted.intersection(content_terms(source, lang))) / len(wanted) if wanted else 0.0
    start, end = _best_run(wanted | numbers(sentence), text, lang)
    return Evidence(start, end, shared, numbers_held=numbers(sentence) <= numbers(source))


def runs(text: str) -> list[tuple[int, int]]:
    """(start, end) of each run of up to LONGEST_RUN sentences, short ones first."""
    spans = sentences(text)
    return [
        (spans[i][0], spans[i + size - 1][1])
        for size in range(1, LONGEST_RUN + 1)
        for i in range(len(spans) - size + 1)
    ]


def is_negated(text: str) -> bool:
    return _NEGATION.search(text) is not None


def _best_run(wanted: set[str], text: str, lang: str) -> tuple[int, int]:
    best, most = (0, len(text)), -1
    for start, end in runs(text):
        held = len(wanted.intersection(content_terms(text[start:end], lang)))
        if held > most:
            best, most = (start, end), held
    return best


def _squeezed(text: str) -> tuple[str, Sequence[int]]:
    """Without white space and markers, and the place of each character that is left."""
    hidden = MARKER.sub(lambda match: " " * len(match.group()), text)
    kept = [i for i, char in enumerate(hidden) if not char.isspace()]
    return "".join(hidden[i] for i in kept), kept


def _inside_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()
