"""Answers without a language model: the sentences of the passages that answer best, word for word.

A sentence is worth the question's content words that it holds, each weighted by its rarity among the
sentences; a heading or a line that announces it lends it a part of its own words. Sentences are taken one
after the other, each by what it adds to those before (greedy maximum coverage; Lin and Bilmes, 2011). One that
goes on from a sentence that was taken has a part of its worth, too: answers run over several sentences.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.languages import detect
from app.rag.citations import Citation
from app.rag.graphemes import graphemes
from app.rag.layout import Kind, blocks
from app.rag.passages import Passage
from app.rag.question_words import HOW_MUCH, question_weights
from app.rag.sentences import split_block
from app.rag.words import content_terms, numbers

MAX_SENTENCES = 6
MAX_CHARACTERS = 800
"""Of the sentences; the markers come on top, and the first sentence is taken whatever its length."""
ENOUGH_COVERED = 0.35
"""No answer when no passage holds this share of the question's content words, each weighted by its rarity: where
meaning cannot tell."""
PIECE = 32
"""Grapheme clusters in a streamed piece at most."""

_LENT = 0.6
_LEAST = 0.15
_SCORE_POWER = 2
_FOLLOWS = 1.5
_CARRIED = 0.3
"""Of a sentence's worth, to the one behind it; not from one that holds _ALL of the question."""
_ALL = 0.9
_FOREIGN = 0.5
"""A sentence in another language than the question's."""
_QUANTITY_BONUS = 1.4
_TORN = 0.6
_LONG = 25
_CLOSERS = "\"'”’»)]"
_SAME = 0.8
_QUANTITY = re.compile(
    HOW_MUCH.pattern + r"|\bwhat (?:percentage|amount|number|time|date|year)\b|\bwhen\b|कितन|कब|ఎంత|ఎన్ని|ఎప్పుడు",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ExtractiveAnswer:
    """Without text and citations when nothing was found."""

    text: str
    citations: list[Citation]
    found: bool


@dataclass(frozen=True, slots=True)
class _Sentence:
    """`passage` and `position` give its place; `heading` and `lead` are words of the lines above it.

    `torn`: its beginning or its end is on another page. `foreign`: not in the language of the question.
    """

    passage: int
    position: int
    text: str
    terms: frozenset[str]
    heading: frozenset[str]
    lead: frozenset[str]
    torn: bool = False
    foreign: bool = False

    @property
    def all_terms(self) -> frozenset[str]:
        return self.terms | self.heading | self.lead


def answer(
    question: str, passages: Sequence[Passage], lang: str, *, answerable: bool = True, supported: bool | None = None
) -> ExtractiveAnswer:
    """Sentences word for word, white space collapsed, each followed by its marker.

    Nothing is found when the search says that the passages do not answer, or when they do not support an answer; where
    that is not known, when none of them holds ENOUGH_COVERED of the question.
    """
    candidates = [item for i, passage in enumerate(passages) for item in _sentences(i, passage, lang)]
    weights = question_weights(question, [item.all_terms for item in candidates], lang)
    if supported is None:
        supported = _covered(weights, candidates)
    if not (answerable and supported):
        return ExtractiveAnswer("", [], found=False)
    chosen = _choose(candidates, weights, passages, question=question)
    if not chosen:
        return ExtractiveAnswer("", [], found=False)
    return _compose(_in_reading_order(chosen), passages)


def stream(text: str) -> Iterator[str]:
    """The text in pieces: a word with the white space after it, or a part of a long word."""
    piece: list[str] = []
    for cluster in graphemes(text):
        word_begins = piece and piece[-1].isspace() and not cluster.isspace()
        if word_begins or len(piece) >= PIECE:
            yield "".join(piece)
            piece = []
        piece.append(cluster)
    if piece:
        yield "".join(piece)


def _sentences(index: int, passage: Passage, lang: str) -> Iterator[_Sentence]:
    """Headings, short questions and sentences that end with a colon only announce what follows."""
    heading, lead = frozenset(content_terms(passage.title, lang)), frozenset[str]()
    foreign = detect(passage.text, lang) != lang
    position = 0
    for block in blocks(passage.text):
        for start, end in split_block(passage.text, block.start, block.end):
            text = " ".join(passage.text[start:end].split())
            terms = frozenset(content_terms(text, lang))
            if block.kind is Kind.HEADING:
                heading, lead = terms, frozenset()
            elif block.kind is Kind.LEAD or text.endswith(":"):
                lead = terms
            else:
                torn = text[0].islower() or (block.kind is Kind.TEXT and text.rstrip(_CLOSERS)[-1:].isalnum())
                yield _Sentence(index, position, text, terms, heading, lead, torn=torn, foreign=foreign)
                position += 1


def _covered(weights: Mapping[str, float], candidates: Sequence[_Sentence]) -> bool:
    held: dict[int, set[str]] = {}
    for item in candidates:
        held.setdefault(item.passage, set()).update(item.all_terms)
    best = max((sum(weights[term] for term in weights if term in found) for found in held.values()), default=0.0)
    return best > 0 and best >= ENOUGH_COVERED * sum(weights.values())


def _choose(
    candidates: Sequence[_Sentence],
    weights: Mapping[str, float],
    passages: Sequence[Passage],
    *,
    question: str,
) -> list[_Sentence]:
    rest = {i: item for i, item in enumerate(candidates) if len(item.terms) > 1 or (item.terms and item.lead)}
    worth = {i: _form(item, question) * _prior(passages, item.passage) for i, item in rest.items()}
    chosen: list[_Sentence] = []
    taken: dict[tuple[int, int], float] = {}
    said: Counter[str] = Counter()
    room, best_gain = MAX_CHARACTERS, 0.0
    while rest and len(chosen) < MAX_SENTENCES:
        gains = {
            i: _gain(item, weights, said) * worth[i] * _near(item, chosen) + _carried(item, taken, question)
            for i, item in rest.items()
        }
        i = max(gains, key=lambda i: gains[i])
        if gains[i] <= _LEAST * best_gain:
            break
        best_gain = max(best_gain, gains[i])
        best = rest.pop(i)
        if chosen and (len(best.text) > room or any(_alike(best, item) for item in chosen)):
            continue
        chosen.append(best)
        taken[best.passage, best.position] = 0.0 if _says_all(best, weights) else gains[i]
        said.update(best.terms)
        room -= len(best.text)
    return chosen


def _says_all(item: _Sentence, weights: Mapping[str, float]) -> bool:
    return sum(weights[term] for term in weights if term in item.all_terms) > _ALL * sum(weights.values())


def _carried(item: _Sentence, taken: Mapping[tuple[int, int], float], question: str) -> float:
    """From the sentence before, when that one was taken: every item of a list, every step of a procedure."""
    before = taken.get((item.passage, item.position - 1), 0.0)
    return _CARRIED * before * _form(item, question) if before else 0.0


def _prior(passages: Sequence[Passage], index: int) -> float:
    top = max(passage.score for passage in passages)
    return float(max(0.0, passages[index].score / top) ** _SCORE_POWER) if top > 0 else 1.0


def _gain(item: _Sentence, weights: Mapping[str, float], said: Counter[str]) -> float:
    """A word that was said before counts half, then a third. A heading alone does not make a sentence fit."""
    worth = {term: weight / (1 + said[term]) for term, weight in weights.items()}
    own = sum(worth[term] for term in worth if term in item.terms)
    announced = item.lead | item.heading if own else item.lead
    return own + _LENT * sum(worth[term] for term in worth if term in announced - item.terms)


def _form(item: _Sentence, question: str) -> float:
    """Numbers where one is asked for; whole sentences; the asker's language; not too long."""
    worth = 1 / (1 + 0.02 * max(0, len(item.terms) - _LONG))
    if _QUANTITY.search(question) and numbers(item.text):
        worth *= _QUANTITY_BONUS
    return worth * (_TORN if item.torn else 1.0) * (_FOREIGN if item.foreign else 1.0)


def _near(item: _Sentence, chosen: Sequence[_Sentence]) -> float:
    """A sentence soon after one that was taken goes on with its thought."""
    follows = any(item.passage == other.passage and 0 < item.position - other.position <= 2 for other in chosen)
    return _FOLLOWS if follows else 1.0


def _alike(a: _Sentence, b: _Sentence) -> bool:
    """The same in nearly the same words; other numbers say another thing."""
    smaller, larger = sorted((a, b), key=lambda item: len(item.terms))
    return len(a.terms & b.terms) >= _SAME * len(smaller.terms) and numbers(smaller.text) <= numbers(larger.text)


def _in_reading_order(chosen: Sequence[_Sentence]) -> list[_Sentence]:
    """Passages in the order in which they were first taken, sentences as they stand in them."""
    rank = {passage: i for i, passage in enumerate(dict.fromkeys(item.passage for item in chosen))}
    return sorted(chosen, key=lambda item: (rank[item.passage], item.position))


def _compose(chosen: Sequence[_Sentence], passages: Sequence[Passage]) -> ExtractiveAnswer:
    parts: list[str] = []
    citations: list[Citation] = []
    at = 0
    for item in chosen:
        n = passages[item.passage].n
        citations.append(Citation(n, at, at + len(item.text)))
        parts.append(f"{item.text} [{n}]")
        at += len(parts[-1]) + 1
    return ExtractiveAnswer(" ".join(parts), citations, found=True)
