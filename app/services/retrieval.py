"""Search: which legs a question may use, and what comes back."""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import NotFound
from app.db.uow import UowFactory
from app.languages import LANGUAGES, detect
from app.providers.ports import Vectors
from app.repositories.chunks import SearchQuery
from app.schemas.search import Mode, SearchFilters, SearchRequest, SearchResponse, Source
from app.services.filling import Space
from app.services.spaces import SpaceService

ANSWERABLE = 0.42
"""Below this fused score no passage holds an answer. Calibrated on 201 answerable and 45 unanswerable questions over
the Northwind PDFs: 0.62 of the latter are refused, and 0.02 of the former."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """`trace` tells why: the legs used, the scores each hit is made of, the milliseconds."""

    sources: list[Source]
    mode: Mode
    exact: bool
    trace: dict[str, Any]

    @property
    def least_score(self) -> float:
        """The threshold is one of the fused score; lexical scores alone run lower."""
        return ANSWERABLE if self.mode == "hybrid" else 0.0


class RetrievalService:
    def __init__(self, uow: UowFactory, spaces: SpaceService, *, exact_limit: int) -> None:
        self._uow = uow
        self._spaces = spaces
        self._exact_limit = exact_limit

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
        filters: SearchFilters | None = None,
        lang: str | None = None,
        space: Space | None = None,
    ) -> Retrieval:
        """Best first, by the vectors of `space`: the one in use unless given.

        NotFound(code="unknown_document") when a filter names a document that is not the caller's.
        """
        filters = filters or SearchFilters()
        space = space or self._spaces.current  # one for the whole question, whatever is switched meanwhile
        began = time.perf_counter()
        language = detect(question, default=lang if lang in LANGUAGES else "en")
        if mode != "text" and not _covers(space, language):
            mode = "text"
        vector = None if mode == "text" else await space.embedder.embed_query(question)
        embedded = time.perf_counter()
        query = _query(question, language, space, vector, top_k=top_k, mode=mode, filters=filters)
        async with self._uow(caller) as uow:
            if filters.document_ids:
                known = await uow.documents.known(filters.document_ids)
                require_known(filters.document_ids, known, pointer="/filters/document_ids")
            rows, exact = await uow.chunks.search(query, exact_limit=self._exact_limit)
        ended = time.perf_counter()
        timing = {"embedding_ms": _milliseconds(began, embedded), "search_ms": _milliseconds(embedded, ended)}
        timing["total_ms"] = _milliseconds(began, ended)
        trace = {"mode": mode, "lang": language, "exact": exact, "timing": timing, "hits": _explain(rows)}
        return Retrieval([_source(n, row) for n, row in enumerate(rows, start=1)], mode, exact, trace)


def _query(
    question: str,
    language: str,
    space: Space,
    vector: Vectors | None,
    *,
    top_k: int,
    mode: Mode,
    filters: SearchFilters,
) -> SearchQuery:
    return SearchQuery(
        question=question,
        config=LANGUAGES[language].text_search,
        space_id=space.id,
        width=space.dimensions,
        top_k=top_k,
        embedding=None if vector is None else vector.tolist(),
        by_text=mode != "vector",
        document_ids=filters.document_ids or None,
        collection=filters.collection,
        lang=filters.lang,
    )


def _covers(space: Space, language: str) -> bool:
    """Vectors of a language that the model never learnt are noise."""
    return language in space.languages or "*" in space.languages


def require_known(asked: list[UUID], known: set[UUID], *, pointer: str = "/document_ids") -> None:
    if set(asked) - known:
        raise NotFound("unknown_document", "One of the documents does not exist.", pointer=pointer)


def _source(n: int, row: dict[str, Any]) -> Source:
    return Source(
        n=n,
        document_id=row["document_id"],
        document_version=row["document_version"],
        chunk_id=row["id"],
        chunk_index=row["chunk_index"],
        title=row["title"],
        page=row["page"],
        char_start=row["char_start"],
        char_end=row["char_end"],
        text=row["content"],
        score=round(row["score"], 6),
        lang=row["lang"],
        url=_url(row),
    )


def _url(row: dict[str, Any]) -> str:
    """Of the version that was found: it opens the same text when a newer one has taken its place."""
    page = f"#page={row['page']}" if row["page"] else ""
    return f"/api/v1/documents/{row['document_id']}/content?version={row['document_version']}{page}"


def _explain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "n": n,
            "chunk_id": str(row["id"]),
            "score": round(row["score"], 6),
            "cosine": None if row["cosine"] is None else round(row["cosine"], 6),
            "lexical": round(row["lexical"], 6),
        }
        for n, row in enumerate(rows, start=1)
    ]


def _milliseconds(start: float, end: float) -> float:
    return round(1000 * (end - start), 2)
