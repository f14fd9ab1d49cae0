"""Two embedding spaces side by side on the same questions, through the search that answers use."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.core.caller import Caller
from app.db.uow import UowFactory
from app.rag.metrics import mean, percentile, reciprocal
from app.schemas.search import Source
from app.services.filling import Space
from app.services.retrieval import RetrievalService


@dataclass(frozen=True, slots=True)
class Question:
    """`document`: title or file name of the one that answers it; None when nobody has said. `pages`: any when empty."""

    query: str
    document: str | None = None
    pages: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Measures:
    """Shares of the judged questions, None without any; milliseconds of embedding and search, over all questions."""

    hit_at_1: float | None
    hit_at_k: float | None
    mrr: float | None
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`overlap`: mean share of the top-k passages that both find."""

    top_k: int
    questions: int
    judged: int
    overlap: float
    measures: list[Measures]


class ComparisonService:
    def __init__(self, uow: UowFactory, retrieval: RetrievalService) -> None:
        self._uow = uow
        self._retrieval = retrieval
        self._filenames: dict[UUID, str] = {}

    async def run(
        self, caller: Caller, spaces: tuple[Space, Space], questions: Sequence[Question], *, top_k: int
    ) -> Comparison:
        for space in spaces:  # the first use of everything is slower
            await self._retrieval.retrieve(caller, questions[0].query, top_k=top_k, space=space)
        ranks: tuple[list[int], list[int]] = ([], [])
        milliseconds: tuple[list[float], list[float]] = ([], [])
        overlaps = []
        for number, question in enumerate(questions):
            found = []
            for side in (0, 1) if number % 2 else (1, 0):  # neither finds the database warmed by the other
                result = await self._retrieval.retrieve(caller, question.query, top_k=top_k, space=spaces[side])
                milliseconds[side].append(result.trace["timing"]["total_ms"])
                found.append({source.chunk_id for source in result.sources})
                if question.document is not None:
                    ranks[side].append(await self._rank(caller, question, result.sources))
            overlaps.append(_overlap(*found))
        measures = [_measures(ranks[side], milliseconds[side]) for side in (0, 1)]
        return Comparison(top_k, len(questions), len(ranks[0]), sum(overlaps) / len(overlaps), measures)

    async def _rank(self, caller: Caller, question: Question, sources: Sequence[Source]) -> int:
        """Of the first passage that is right, from 1; 0 when none is."""
        for source in sources:
            if question.document in (source.title, await self._filename(caller, source)) and _on(question, source):
                return source.n
        return 0

    async def _filename(self, caller: Caller, source: Source) -> str | None:
        document_id = source.document_id
        if document_id is None:
            return None
        if document_id not in self._filenames:
            async with self._uow(caller) as uow:
                document = await uow.documents.get(document_id)
            self._filenames[document_id] = document.filename if document else ""
        return self._filenames[document_id]


def _on(question: Question, source: Source) -> bool:
    """A passage of the page, or of the one after it: answers run over page ends."""
    return not question.pages or any(source.page in (page, page + 1) for page in question.pages)


def _overlap(one: set[UUID | None], other: set[UUID | None]) -> float:
    return len(one & other) / max(len(one), len(other), 1) if one or other else 1.0


def _measures(ranks: Sequence[int], milliseconds: Sequence[float]) -> Measures:
    return Measures(
        hit_at_1=mean([rank == 1 for rank in ranks]),
        hit_at_k=mean([rank > 0 for rank in ranks]),
        mrr=mean([reciprocal(rank) for rank in ranks]),
        p50_ms=percentile(milliseconds, 50),
        p95_ms=percentile(milliseconds, 95),
    )
