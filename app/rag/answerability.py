"""Whether the best passage may hold an answer, or only looks a little like the question.

With the shipped embedding model the fused score tells by itself. Other models have cosines of another scale: for some
all texts are alike. There the best passage must stand out from the background, the mean cosine of all the tenant's
passages to this question. Figures are in docs/decisions/0011-answerable.md.
"""

from dataclasses import dataclass

MEASURED = "all-MiniLM-L6-v2"
"""The model that ENOUGH was measured with."""
ENOUGH = 0.32
"""Of the fused score, with that model."""
SURE = 0.5
"""From this score on, nothing but the search decides."""
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
    """The passage that came first. `background`: mean cosine of all passages to the question, None with the model
    that needs none."""

    score: float
    cosine: float
    background: float | None


def background(chunks: int, cosine: float) -> float:
    """From the mean cosine of so many passages: shrunk towards the usual one where they are few."""
    return (chunks * cosine + SURE_FROM * USUAL) / (chunks + SURE_FROM)


def is_measured(model: str) -> bool:
    return model == MEASURED


def threshold(background: float | None) -> float:
    """Of the fused score."""
    return ENOUGH if background is None else SCORE_ABOVE + max(background, 0.0) / 2


def is_answerable(best: Best) -> bool:
    far = best.background is not None and best.cosine < COSINE_ABOVE + OF_BACKGROUND * best.background
    return not far and best.score >= threshold(best.background)


def is_sure(best: Best) -> bool:
    return best.background is None and best.score >= SURE
