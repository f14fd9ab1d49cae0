"""The words that a question asks about, and how much each of them tells one passage from another."""

import math
import re
from collections import Counter
from collections.abc import Sequence, Set

from app.rag.words import content_terms

HOW_MUCH = re.compile(r"\bhow (?:much|many|long|often|old|far|large|big|high|tall)\b", re.IGNORECASE)
"""The answer to "how often" is a number or an interval; it need not hold the word "often"."""
_ASKING_STEMS = """
answer compar consider contain defin describ detail differ discuss explain includ information item key know
list main mention mean name need offer part point provid regard relat say show summar text thing type us work
"""
_ASKING = frozenset(_ASKING_STEMS.split())
"""Stems of words that say how to answer rather than what about: they count half."""


def question_weights(question: str, sentences: Sequence[Set[str]], lang: str) -> dict[str, float]:
    """By content word; `sentences` are the words of each that was found. One that none holds is as rare as can be."""
    count = Counter(term for terms in sentences for term in terms)
    return {
        term: math.log(1 + len(sentences) / (1 + count[term])) * (0.5 if term in _ASKING else 1.0)
        for term in content_terms(HOW_MUCH.sub(" ", question), lang)
    }
