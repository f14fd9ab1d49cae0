"""How well the passages that were found support an answer: by the words and the meaning of their best sentences.

A passage may be about the question's subject without saying what is asked. So single sentences and neighbouring pairs
are looked at, whose vectors are not blurred by what stands around them: the share of the question's words that one
holds, and its cosine with the question. Only the few that the words and the search put first are embedded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.rag.evidence import runs
from app.rag.passages import Passage
from app.rag.question_words import question_weights
from app.rag.sentences import sentences
from app.rag.words import content_terms

MEANING = 0.7
"""The weight of the cosine; words have the rest."""
ENOUGH = 0.51
"""Measured in docs/decisions/0011-answerable.md. Weights from 0.6 to 0.8, each with its own threshold, do as well."""
COMPARED = 4
"""Runs of sentences that are embedded."""


@dataclass(frozen=True, slots=True)
class Run:
    """A sentence or two of a passage. `covered`: the share of the question's words, weighted, that it or the title
    holds."""

    text: str
    covered: float

    def support(self, cosine: float) -> float:
        """0..1, of an answer; `cosine` with the question."""
        return max(0.0, MEANING * cosine + (1 - MEANING) * self.covered)


def best_runs(question: str, passages: Sequence[Passage], lang: str) -> list[Run]:
    """The COMPARED most promising of all passages."""
    titles = [frozenset(content_terms(passage.title, lang)) for passage in passages]
    places = [[passage.text[start:end] for start, end in runs(passage.text)] for passage in passages]
    held = [
        [title.union(content_terms(text, lang)) for text in texts] for title, texts in zip(titles, places, strict=True)
    ]
    singles = [
        terms for passage, each in zip(passages, held, strict=True) for terms in each[: len(sentences(passage.text))]
    ]
    weights = question_weights(question, singles, lang)
    whole = sum(weights.values()) or 1.0
    found = [
        (passage.score, Run(text, sum(weights[term] for term in weights if term in terms) / whole))
        for passage, texts, each in zip(passages, places, held, strict=True)
        for text, terms in zip(texts, each, strict=True)
    ]
    found.sort(key=lambda item: MEANING * item[0] + (1 - MEANING) * item[1].covered, reverse=True)
    return [run for _, run in found[:COMPARED]]


def is_enough(support: float) -> bool:
    return support >= ENOUGH
