"""Citations of a finished answer: checked by words and by meaning, with the place that bears them out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.core.errors import RagchatError
from app.core.logging import get_logger
from app.languages import detect
from app.rag.citations import Claim, claims
from app.rag.evidence import is_negated, runs
from app.rag.passages import Passage
from app.schemas.search import Source
from app.services.spaces import SpaceService

MOST_EMBEDDED = 128
"""Sentences and runs of sentences of one answer; claims that come later are checked by words alone."""
NEXT_TO_NOTHING = 0.02
"""Two sentences must be nearer than one by more than this cosine to be cited together."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Compared:
    """A claim, what it says, and where its passage may say it; None when it is left to its words."""

    claim: Claim
    sentence: str
    text: str
    places: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Nearest:
    start: int
    end: int
    cosine: float
    conflict: bool


class Citing:
    """Without `spaces`, and for a language that the model does not know, by words alone."""

    def __init__(self, spaces: SpaceService | None = None) -> None:
        self._spaces = spaces

    async def check(self, content: str, passages: Sequence[Passage], sources: Sequence[Source]) -> list[dict[str, Any]]:
        """Those that hold, in order, as messages and events keep them: n, start, end and the place; no text."""
        found = await asyncio.to_thread(claims, content, passages)
        nearest = await self._nearest(_compared(content, found, passages))
        by_number = {source.n: source for source in sources}
        held: list[dict[str, Any]] = []
        for claim in found:
            near, place = nearest.get(claim), (claim.evidence.start, claim.evidence.end)
            if near is None and claim.evidence.by_words:
                held.append(_stored(claim, by_number[claim.citation.n], *place))
            elif near is not None and claim.evidence.holds(near.cosine, negated=near.conflict):
                held.append(_stored(claim, by_number[claim.citation.n], near.start, near.end))
        return held

    async def _nearest(self, compared: Sequence[_Compared]) -> dict[Claim, _Nearest]:
        """By claim; one batch. Nothing when there is no model to ask."""
        if self._spaces is None or not compared:
            return {}
        try:
            space = self._spaces.current
            known = [each for each in compared if {detect(each.sentence), "*"} & space.languages]
            batch = _batch(known)
            if not batch:
                return {}
            vectors = await space.embedder.embed_documents(list(batch))
        except RagchatError as exc:
            log.warning("citations.by_words_alone", code=exc.code)
            return {}
        at = {text: i for i, text in enumerate(batch)}
        return {each.claim: _best(each, vectors, at) for each in known if each.sentence in at and _places(each, at)}


def _compared(content: str, found: Sequence[Claim], passages: Sequence[Passage]) -> list[_Compared]:
    """Quotations need no model, nor does what can hold in no case."""
    texts = {passage.n: passage.text for passage in passages}
    return [
        _Compared(claim, content[claim.citation.start : claim.citation.end], texts[claim.citation.n],
                  runs(texts[claim.citation.n]))
        for claim in found if claim.evidence.may_hold and not claim.evidence.verbatim
    ]  # fmt: skip


def _batch(compared: Sequence[_Compared]) -> dict[str, None]:
    """The texts to embed, each once; a claim's texts are all in it or none."""
    texts: dict[str, None] = {}
    for each in compared:
        more = dict.fromkeys([each.sentence, *(each.text[start:end] for start, end in each.places)])
        if len(texts | more) <= MOST_EMBEDDED:
            texts |= more
    return texts


def _places(each: _Compared, at: dict[str, int]) -> bool:
    return bool(each.places) and all(each.text[start:end] in at for start, end in each.places)


def _best(each: _Compared, vectors: Any, at: dict[str, int]) -> _Nearest:
    rows = [at[each.text[start:end]] for start, end in each.places]
    cosines = vectors[rows] @ vectors[at[each.sentence]]
    i = int((cosines >= cosines.max() - NEXT_TO_NOTHING).argmax())  # the first: short runs come first
    start, end = each.places[i]
    return _Nearest(start, end, float(cosines[i]), is_negated(each.sentence) != is_negated(each.text[start:end]))


def _stored(claim: Claim, source: Source, start: int, end: int) -> dict[str, Any]:
    """`start` and `end` are offsets in the passage; unknown places of a passage stay unknown."""
    first = source.char_start
    return {
        "n": claim.citation.n,
        "start": claim.citation.start,
        "end": claim.citation.end,
        "document_id": str(source.document_id) if source.document_id else None,
        "document_version": source.document_version,
        "chunk_id": str(source.chunk_id) if source.chunk_id else None,
        "page": source.page,
        "char_start": None if first is None else first + start,
        "char_end": None if first is None else first + end,
    }
