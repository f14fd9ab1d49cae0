"""Whether the best passage holds an answer, or only looks a little like the question.

A bare threshold on the score does not carry over from one set of documents to another: in a handbook every passage is
close to every question, in a mixed collection none is. So the best passage must stand out from the background, which is
the mean cosine of all passages to this question. Calibrated on three sets at once (answerable questions refused /
unanswerable ones refused): Northwind PDFs 0.05 / 0.67, XQuAD English with the right passage taken away 0.04 / 0.43,
SciFact likewise 0.04 / 0.13.
"""

from dataclasses import dataclass

SCORE_ABOVE = 0.26
"""By which the fused score exceeds half the background: its share of the background."""
COSINE_ABOVE = 0.29
OF_BACKGROUND = 0.9
USUAL = 0.1
"""The background where nothing is known of it."""
SURE_FROM = 30
"""Passages from which on the background is known, not guessed: of a few, the one that answers is a large part."""


@dataclass(frozen=True, slots=True)
class Best:
    """The passage that came first. `background`: mean cosine of all passages to the question."""

    score: float
    cosine: float
    background: float


def background(chunks: int, cosine: float) -> float:
    """From the mean cosine of so many passages: shrunk towards the usual one where they are few."""
    return (chunks * cosine + SURE_FROM * USUAL) / (chunks + SURE_FROM)


def threshold(background: float) -> float:
    """Of the fused score."""
    return SCORE_ABOVE + max(background, 0.0) / 2


def is_answerable(best: Best) -> bool:
    far = best.cosine < COSINE_ABOVE + OF_BACKGROUND * best.background
    return not far and best.score >= threshold(best.background)
