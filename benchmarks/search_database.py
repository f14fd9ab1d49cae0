"""A database filled for the search benchmark, in the embedded PostgreSQL of a data folder, and kept there."""

import hashlib
import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt

from app.core.caller import DEFAULT_TENANT, tenant_caller
from app.core.ids import new_id
from app.db.engine import driver_connection, register_halfvec
from app.db.indexes import Indexes
from app.languages import get_language
from app.providers.ports import Vectors
from app.rag.indexed_text import content_hash, searched_text
from app.repositories import halfvec
from app.repositories.hnsw import index_name
from app.runtime import Runtime
from app.services.statistics import StatisticsService
from benchmarks.search_corpus import Document, documents, real_corpus

CALLER = tenant_caller(DEFAULT_TENANT)
DOCUMENTS_A_BATCH = 100
FETCHED_AT_ONCE = 10_000
DOCUMENT_COLUMNS = [
    "id",
    "tenant_id",
    "title",
    "filename",
    "kind",
    "sha256",
    "size_bytes",
    "storage_key",
    "collection",
    "indexed_version",
    "status",
    "chunk_count",
]

TERMS_INDEX = "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_chunks_terms'"
COUNT_TERMS = """
UPDATE documents d SET term_count = c.words
FROM (SELECT document_id, sum(term_count) AS words FROM chunks GROUP BY document_id) AS c WHERE c.document_id = d.id
"""
VALID = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass($1) AND indisvalid"
VECTORS = "SELECT chunk_id, embedding FROM chunk_embeddings WHERE space_id = $1"


async def ensure_loaded(runtime: Runtime, chunks: int, cache: Path) -> None:
    """SystemExit when the folder holds another number of chunks, or was not loaded to its end."""
    space = runtime.spaces.current
    async with driver_connection(runtime.owner) as connection:
        there = await connection.fetchval("SELECT count(*) FROM chunks")
        whole = there == chunks and await connection.fetchval(VALID, index_name(space.id))
    if there and not whole:
        raise SystemExit(f"The data folder holds {there} chunks, perhaps of a load that was broken off: delete it.")
    if not there:
        with Stage("real passages, embedded or from the cache"):
            corpus = await real_corpus(space.embedder, cache)
        await _load(runtime, documents(corpus, chunks))
    await refresh_statistics(runtime)


async def refresh_statistics(runtime: Runtime) -> None:
    """After loading, and when a kept database is opened: a worker's job does it where documents come one by one."""
    await StatisticsService(runtime.uow).refresh(CALLER)


async def _load(runtime: Runtime, made: Iterable[Document]) -> None:
    """Indexes of words and vectors are built when all rows are there: the latter by the service's own code."""
    space, indexes = runtime.spaces.current, Indexes(runtime.owner)
    await indexes.drop(space.id)
    async with driver_connection(runtime.owner) as connection:
        await register_halfvec(connection)
        definition = await connection.fetchval(TERMS_INDEX)
        await connection.execute("DROP INDEX ix_chunks_terms")
        with Stage("rows"):
            waiting = iter(made)
            while batch := [*itertools.islice(waiting, DOCUMENTS_A_BATCH)]:
                await _add(runtime, connection, batch)
            await connection.execute(COUNT_TERMS)
        with Stage("index of words"):
            await connection.execute(definition)
        with Stage("HNSW index"):
            await indexes.build(space.id, space.dimensions)
        with Stage("vacuum and analyze"):
            await connection.execute("VACUUM (ANALYZE) documents, chunks, chunk_embeddings")


async def _add(runtime: Runtime, connection: asyncpg.Connection, batch: list[Document]) -> None:
    """Documents and vectors by COPY; the words of the chunks are the service's own statement's work."""
    ids = [new_id() for _ in batch]
    rows = [_row(id_, document) for id_, document in zip(ids, batch, strict=True)]
    await connection.copy_records_to_table("documents", records=rows, columns=DOCUMENT_COLUMNS)
    chunks = [row for id_, document in zip(ids, batch, strict=True) for row in _chunk_rows(id_, document)]
    async with runtime.uow(CALLER) as uow:
        await uow.chunks.add(chunks)
    vectors = [halfvec.encoded(vector) for document in batch for vector in document.vectors]
    space, tenant = runtime.spaces.current.id, CALLER.tenant_id
    await connection.copy_records_to_table(
        "chunk_embeddings",
        records=[(space, chunk["id"], tenant, vector) for chunk, vector in zip(chunks, vectors, strict=True)],
        columns=["space_id", "chunk_id", "tenant_id", "embedding"],
    )


def _row(id_: UUID, document: Document) -> tuple[Any, ...]:
    """The values of DOCUMENT_COLUMNS."""
    size = sum(len(passage.text) for passage in document.passages)
    unique = hashlib.sha256(id_.bytes).digest()
    known = (id_, CALLER.tenant_id, document.title, "made.txt", "txt", unique, size, f"none/{id_}")
    return (*known, document.collection, 1, "ready", len(document.passages))


def _chunk_rows(document_id: UUID, document: Document) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    at = 0
    for index, passage in enumerate(document.passages):
        row = {
            "id": new_id(),
            "document_id": document_id,
            "document_version": 1,
            "chunk_index": index,
            "page": None,
            "char_start": at,
            "char_end": at + len(passage.text),
            "heading": passage.heading,
            "content": passage.text,
            "content_hash": content_hash(passage.title, passage.heading, passage.text),
            "token_count": passage.tokens,
            "lang": passage.lang,
            "config": get_language(passage.lang).text_search,
            "indexed": searched_text(passage.title, passage.heading, passage.text),
        }
        rows.append(row)
        at += len(passage.text) + 1
    return rows


async def stored_vectors(connection: asyncpg.Connection, space_id: int) -> tuple[list[UUID], Vectors]:
    """As the database has them (halves), brought to length 1 again: what every way of searching is judged by."""
    ids: list[UUID] = []
    parts: list[npt.NDArray[np.float32]] = []
    async with connection.transaction():
        cursor = await connection.cursor(VECTORS, space_id)
        while rows := await cursor.fetch(FETCHED_AT_ONCE):
            ids += [row["chunk_id"] for row in rows]
            parts.append(np.stack([row["embedding"] for row in rows]).astype(np.float32))
    vectors = np.concatenate(parts)
    return ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Stage:
    """Prints how long it took."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        if raised[0] is None:
            print(f"{self._name}: {time.perf_counter() - self._began:.0f} s", flush=True)
