"""Search: which legs a question may use, and what comes back."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from app.core.caller import Caller
from app.core.errors import NotFound
from app.db.searching import Searching
from app.db.uow import UowFactory
from app.languages import LANGUAGES, detect
from app.providers.ports import Reranker, Vectors
from app.rag.answerability import Best, background, is_answerable, is_measured, is_sure, threshold
from app.rag.conversation import WEIGHT, Said, referred, with_context
from app.rag.diversity import diverse
from app.rag.indexed_text import embedded_text
from app.rag.search_words import search_form
from app.repositories.search import SearchQuery
from app.schemas.search import Filters, Mode, SearchRequest, SearchResponse, Source
from app.services.filling import Space
from app.services.hits import Row, explained, fused, place, sources
from app.services.spaces import SpaceService

SPARE = 40
"""Candidates beyond what is asked for, to choose from."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """`answerable`: whether the best passage may hold an answer; `sure`: that it does, as far as a search can tell.
    `asked`: the question, with what it refers to where it says too little itself. `trace` tells why: what was searched
    for, the legs used, the scores that each candidate is made of, the milliseconds."""

    sources: list[Source]
    mode: Mode
    exact: bool
    answerable: bool
    sure: bool
    asked: str
    trace: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, what it refers to, and the way in which it can be searched."""

    question: str
    context: list[str]
    lang: str
    mode: Mode
    space: Space

    @property
    def query(self) -> str:
        return " ".join([*self.context, self.question])

    async def vector(self) -> Vectors | None:
        """Of the question, drawn towards what it refers to."""
        if self.mode == "text":
            return None
        vector = await self.space.embedder.embed_query(self.question)
        for text in self.context:
            vector = vector + WEIGHT * await self.space.embedder.embed_query(text)
        return vector / np.linalg.norm(vector) if self.context else vector


@dataclass(frozen=True, slots=True)
class _Found:
    """`usual`: the background of the tenant's passages to the question; None when no vectors were compared, and with
    the model that needs none."""

    rows: list[Row]
    exact: bool
    usual: float | None


class _Clock:
    """Milliseconds since the start, and between marks."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self.timing: dict[str, float] = {}

    def mark(self, name: str) -> None:
        now = time.perf_counter()
        self.timing[name] = round(1000 * (now - self._last), 2)
        self.timing["total_ms"] = round(1000 * (now - self._began), 2)
        self._last = now


class RetrievalService:
    def __init__(
        self,
        uow: UowFactory,
        searching: Searching,
        spaces: SpaceService,
        *,
        exact_limit: int,
        reranker: Reranker | None = None,
        rerank_candidates: int = 20,
    ) -> None:
        self._uow = uow
        self._searching = searching
        self._spaces = spaces
        self._exact_limit = exact_limit
        self._reranker = reranker
        self._rerank_candidates = rerank_candidates

    async def search(self, caller: Caller, request: SearchRequest) -> SearchResponse:
        found = await self.retrieve(
            caller, request.query, top_k=request.top_k, mode=request.mode, filters=request.filters
        )
        exhausted = found.exact or len(found.sources) < request.top_k
        return SearchResponse(items=found.sources, mode=found.mode, exhausted=exhausted, timing=found.trace["timing"])

    async def retrieve(
        self,
        caller: Caller,
        question: str,
        *,
        top_k: int,
        mode: Mode = "hybrid",
        filters: Filters | None = None,
        lang: str | None = None,
        history: Sequence[Said] = (),
        space: Space | None = None,
    ) -> Retrieval:
        """Best first, by the vectors of `space`: the one in use unless given. `history`: what was said before, oldest
        first.

        NotFound(code="unknown_document") when a filter names a document that is not the caller's.
        """
        clock = _Clock()
        # one space for the whole question, whatever is switched meanwhile
        asked = _asked(question, history, space or self._spaces.current, mode, lang)
        vector = await asked.vector()
        clock.mark("embedding_ms")
        found = await self._find(caller, asked, vector, filters or Filters(), fetched=top_k + max(SPARE, top_k))
        clock.mark("search_ms")
        rows = found.rows
        if self._reranker is not None:
            rows = await self._rerank(self._reranker, asked.query, rows)
            clock.mark("reranking_ms")
        used = diverse([(row, place(row)) for row in rows], top_k)
        answerable, sure = _answerable(rows, found.usual, asked.mode)
        trace = self._trace(asked, found) | {
            "answerable": answerable, "timing": clock.timing, "hits": explained(rows, used),
        }  # fmt: skip
        whole = with_context(question, asked.context, asked.lang)
        return Retrieval(sources(used), asked.mode, found.exact, answerable, sure, whole, trace)

    async def _find(
        self, caller: Caller, asked: _Asked, vector: Vectors | None, filters: Filters, *, fetched: int
    ) -> _Found:
        query = SearchQuery(
            question=search_form(asked.question),
            context=search_form("\n".join(asked.context)),
            config=LANGUAGES[asked.lang].text_search,
            space_id=asked.space.id,
            width=asked.space.dimensions,
            fetched=fetched,
            embedding=vector,
            by_text=asked.mode != "vector",
            document_ids=filters.document_ids,
            collection=filters.collection,
            lang=filters.lang,
        )
        if filters.document_ids:
            async with self._uow(caller) as uow:
                known = await uow.documents.known(filters.document_ids)
            require_known(filters.document_ids, known, pointer="/filters/document_ids")
        async with self._searching(caller) as passages:
            rows, exact = await passages.search(query, exact_limit=self._exact_limit)
            plain = vector is None or is_measured(asked.space.model)
            usual = None if plain else background(*await passages.background(query))
        return _Found(rows, exact, usual)

    async def _rerank(self, reranker: Reranker, query: str, rows: list[Row]) -> list[Row]:
        """The first candidates, ordered by the cross-encoder, whose score takes the place of the fused one."""
        read = rows[: self._rerank_candidates]
        scores = await reranker.scores(query, [embedded_text(row["title"], None, row["content"]) for row in read])
        scored = [row | {"score": score, "fused": row["score"]} for row, score in zip(read, scores, strict=True)]
        return sorted(scored, key=lambda row: -row["score"])

    def _trace(self, asked: _Asked, found: _Found) -> dict[str, Any]:
        return {
            "question": asked.question,
            "query": asked.query,
            "mode": asked.mode,
            "lang": asked.lang,
            "exact": found.exact,
            "space": asked.space.model,
            "reranker": self._reranker.name if self._reranker else None,
            "threshold": round(threshold(found.usual), 6) if asked.mode == "hybrid" else None,
        }


def _asked(question: str, history: Sequence[Said], space: Space, mode: Mode, lang: str | None) -> _Asked:
    language = detect(question, default=lang if lang in LANGUAGES else "en")
    covered = language in space.languages or "*" in space.languages  # else the vectors are noise
    return _Asked(question, referred(question, history, language), language, mode if covered else "text", space)


def _answerable(rows: list[Row], usual: float | None, mode: Mode) -> tuple[bool, bool]:
    """(whether there may be an answer, whether that is sure). Words alone do not tell: a question asked by them is
    refused by the answer, when too few of them occur."""
    if not rows or mode != "hybrid":
        return bool(rows), False
    row = max(rows, key=fused)
    best = Best(fused(row), row["cosine"] or 0.0, usual)
    return is_answerable(best), is_sure(best)


def said_before(messages: Sequence[Row]) -> list[Said]:
    """What a question may refer to: `sender`, `content` and `status` of messages, oldest first."""
    return [Said(row["sender"], row["content"], finished=row["status"] == "completed") for row in messages]


def require_known(asked: list[UUID], known: set[UUID], *, pointer: str = "/document_ids") -> None:
    if set(asked) - known:
        raise NotFound("unknown_document", "One of the documents does not exist.", pointer=pointer)
