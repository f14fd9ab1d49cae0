"""The ways of searching that the benchmark compares: ragchat's own, plain statements, FAISS; and who judges them."""

import contextlib
import importlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt
from sqlalchemy import TextClause, text

from app.db.engine import driver_connection, register_halfvec
from app.db.searching import searching
from app.rag.search_words import search_form
from app.repositories import halfvec
from app.repositories.hnsw import HNSW_EF_CONSTRUCTION, HNSW_M
from app.repositories.search import SearchQuery
from app.runtime import Runtime
from app.schemas.search import SearchFilters
from app.services.retrieval import SPARE
from benchmarks.search_database import CALLER, Stage

TOP_K = 10
CONNECTIONS = 4
EF_TRIED = (10, 16, 24, 32, 48, 64, 96, 128, 200, 400, 800)
SAME_SCORE = 1e-6
SAME_COSINE = 1e-5
"""A hit counts when it is as near as the tenth of the exact answer: equal vectors may come in any order."""

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    config: str
    vector: Vector


@dataclass(frozen=True, slots=True)
class Found:
    """`inside`: seconds of the search alone, where the whole is more."""

    ids: list[UUID]
    inside: float | None = None


Way = Callable[[Question, int], Awaitable[Found]]
"""A question and the number of the connection to use."""


class Application:
    """All that is called of ragchat."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._searching = searching(runtime.engine)

    def leg(self, *, vector: bool = False, words: bool = False, collection: str | None = None) -> Way:
        async def way(question: Question, _: int) -> Found:
            query = self._query(question, vector, words, collection)
            async with self._searching(CALLER) as passages:
                began = time.perf_counter()
                rows, _exact = await passages.search(query, exact_limit=self._runtime.settings.exact_search_limit)
                inside = time.perf_counter() - began
            return Found([row["id"] for row in rows[:TOP_K]], inside)

        return way

    def nearest(self, *, words: bool) -> Way:
        """The part of the statement that is the vector leg, alone or as beside words, for as many ids as the raw way
        gives."""

        async def way(question: Question, _: int) -> Found:
            async with self._searching(CALLER) as passages:
                began = time.perf_counter()
                query = self._query(question, True, words, None)
                await passages._prepare(query, self._runtime.settings.exact_search_limit)
                statement, values = passages.statement(query, exact=False)
                rows = await passages._fetch(_leg_alone(statement.text), values | {"fetched": TOP_K})
                inside = time.perf_counter() - began
            return Found([row["id"] for row in rows], inside)

        return way

    async def agreement(self, question: Question) -> float:
        """How many of the ten best passages of an exact hybrid search the one through the index finds."""
        query = self._query(question, True, True, None)
        async with self._searching(CALLER) as passages:
            rows, _ = await passages.search(query, exact_limit=self._runtime.settings.exact_search_limit)
            exact = await passages._hybrid(query, exact=True)
        scores = [float(row["score"]) for row in exact[:TOP_K]]
        return float(np.mean([row["score"] >= scores[-1] - SAME_SCORE for row in rows[: len(scores)]]))

    async def retrieve(self, question: Question, _: int) -> Found:
        """The service's method, which embeds the question first."""
        found = await self._runtime.retrieval.retrieve(
            CALLER, question.text, top_k=TOP_K, mode="hybrid", filters=SearchFilters()
        )
        return Found([source.chunk_id for source in found.sources if source.chunk_id])

    async def ef_search(self, question: Question, *, words: bool = False) -> int:
        """What its transaction has set, of the vector leg alone or beside words."""
        async with self._searching(CALLER) as passages:
            query = self._query(question, True, words, None)
            await passages.search(query, exact_limit=self._runtime.settings.exact_search_limit)
            [shown] = await passages._fetch(text("SHOW hnsw.ef_search"), {})
            return int(shown["hnsw.ef_search"])

    def _query(self, question: Question, vector: bool, words: bool, collection: str | None) -> SearchQuery:
        space = self._runtime.spaces.current
        return SearchQuery(
            question=search_form(question.text),
            config=question.config,
            space_id=space.id,
            width=space.dimensions,
            fetched=TOP_K + SPARE,
            embedding=question.vector if vector else None,
            by_text=words,
            collection=collection,
        )


@cache
def _leg_alone(statement: str) -> TextClause:
    before, _, _ = statement.partition("corpus AS" if "corpus AS" in statement else "scored AS")
    return text(f"{before.rstrip().removesuffix(',')} SELECT id FROM vector_leg ORDER BY distance LIMIT :fetched")  # noqa: S608


class Raw:
    """Plain statements through asyncpg on connections of their own."""

    def __init__(self, connections: list[asyncpg.Connection], space_id: int, width: int, ef_search: int) -> None:
        self._connections = connections
        self._ef_search = ef_search
        distance = f"e.embedding::halfvec({width}) <=> $1"
        near = f"SELECT e.chunk_id FROM chunk_embeddings e WHERE e.space_id = {space_id} ORDER BY"  # noqa: S608
        self._hnsw = f"{near} {distance} LIMIT {TOP_K}"
        self._exact = f"{near} ({distance}) + 0 LIMIT {TOP_K}"
        self._filtered = (
            "SELECT e.chunk_id FROM documents d "  # noqa: S608  numbers of our own
            "JOIN chunks c ON c.document_id = d.id AND c.document_version = d.indexed_version "
            f"JOIN chunk_embeddings e ON e.chunk_id = c.id AND e.space_id = {space_id} "
            f"WHERE d.collection = $2 ORDER BY ({distance}) + 0 LIMIT {TOP_K}"
        )

    async def hnsw(self, question: Question, slot: int) -> Found:
        return _found(await self._connections[slot].fetch(self._hnsw, halfvec.encoded(question.vector)))

    async def hnsw_in_transaction(self, question: Question, slot: int) -> Found:
        """With the setting of ef_search, as a pool's connection needs it."""
        connection = self._connections[slot]
        async with connection.transaction():
            await connection.execute(f"SET LOCAL hnsw.ef_search = {self._ef_search}")
            return _found(await connection.fetch(self._hnsw, halfvec.encoded(question.vector)))

    async def exact(self, question: Question, slot: int) -> Found:
        return _found(await self._connections[slot].fetch(self._exact, halfvec.encoded(question.vector)))

    def exact_within(self, collection: str) -> Way:
        async def way(question: Question, slot: int) -> Found:
            return _found(
                await self._connections[slot].fetch(self._filtered, halfvec.encoded(question.vector), collection)
            )

        return way


def _found(rows: list[asyncpg.Record]) -> Found:
    return Found([row["chunk_id"] for row in rows])


@contextlib.asynccontextmanager
async def raw_connections(runtime: Runtime, ef_search: int) -> AsyncIterator[list[asyncpg.Connection]]:
    async with contextlib.AsyncExitStack() as stack:
        found = [await stack.enter_async_context(driver_connection(runtime.owner)) for _ in range(CONNECTIONS)]
        for connection in found:
            await register_halfvec(connection)
            await connection.execute(f"SET hnsw.ef_search = {ef_search}; SET jit = off")
        yield found


class Judge:
    """The exact answer, by a product of matrices."""

    def __init__(self, ids: list[UUID], vectors: Vector) -> None:
        self.ids = ids
        self.vectors = vectors
        self._position = {id_: position for position, id_ in enumerate(ids)}

    def positions(self, ids: list[UUID]) -> npt.NDArray[np.int64]:
        return np.array([self._position[id_] for id_ in ids], np.int64)

    def recall(self, question: Question, found: list[UUID], members: npt.NDArray[np.int64] | None) -> float:
        asked = question.vector.astype(np.float16).astype(np.float32)
        asked /= np.linalg.norm(asked)
        among = self.vectors if members is None else self.vectors[members]
        count = min(TOP_K, len(among))
        tenth = np.partition(among @ asked, -count)[-count]
        near = self.vectors[self.positions(found)] @ asked >= tenth - SAME_COSINE
        kept = np.ones(len(found), bool) if members is None else np.isin(self.positions(found), members)
        return float((near & kept).sum()) / count

    async def mean_recall(self, way: Way, asked: list[Question]) -> float:
        return float(np.mean([self.recall(question, (await way(question, 0)).ids, None) for question in asked]))


class Faiss:
    """HNSW in this process, by one thread, without a database around it."""

    def __init__(self, judge: Judge, path: Path) -> None:
        self._faiss: Any = importlib.import_module("faiss")
        self._ids = judge.ids
        if path.exists():
            self._index = self._faiss.read_index(str(path))
        else:
            with Stage("FAISS index"):
                self._index = self._faiss.IndexHNSWFlat(
                    judge.vectors.shape[1], HNSW_M, self._faiss.METRIC_INNER_PRODUCT
                )
                self._index.hnsw.efConstruction = HNSW_EF_CONSTRUCTION
                self._index.add(judge.vectors)
                self._faiss.write_index(self._index, str(path))
        self._faiss.omp_set_num_threads(1)

    async def search(self, question: Question, _: int) -> Found:
        _, positions = self._index.search(question.vector[None, :], TOP_K)
        return Found([self._ids[position] for position in positions[0].tolist() if position >= 0])

    async def reach(self, recall: float, judge: Judge, asked: list[Question]) -> int:
        """The smallest ef that is tried and finds as much as `recall`."""
        for ef in EF_TRIED:
            self._index.hnsw.efSearch = ef
            if await judge.mean_recall(self.search, asked) >= recall:
                break
        return ef
