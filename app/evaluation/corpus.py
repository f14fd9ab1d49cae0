"""A corpus in a tenant of its own: the instance's documents, and what search knows of their words, stay as they are.

Passages are cut, stored and embedded as the worker does it, but by the thousand and without jobs. One file holds the
whole corpus: that is what the documents' rows name as their original.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.background import run_together
from app.core.caller import Caller
from app.core.ids import new_id
from app.evaluation.beir import Passage
from app.providers.ports import Embedder
from app.rag.indexed_text import embedded_text
from app.runtime import Runtime
from app.services.cutting import chunk_columns, make_splitter
from app.services.filling import Space
from app.services.statistics import LARGE

DOCUMENTS_AT_ONCE = 4000
STORED_AT_ONCE = 500
EMBEDDED_AT_ONCE = 128
SAMPLE = 100
EMBEDDING_TASKS = 2
"""One batch is embedded while the other is written."""
Progress = Callable[[int, int], None]
"""(passages done, passages of the corpus)"""


@dataclass(frozen=True, slots=True)
class _Cut:
    """A chunk's row, and what of it is embedded."""

    row: dict[str, Any]
    embedded: str


@dataclass(slots=True)
class Block:
    """Passages that are loaded together, as a part of all."""

    first: int
    size: int
    total: int
    progress: Progress
    done: int = 0

    def embedded(self, chunks: int, of: int) -> None:
        self.done += chunks
        self.progress(self.first + self.size * self.done // of, self.total)


async def load(runtime: Runtime, caller: Caller, passages: Sequence[Passage], progress: Progress) -> None:
    """Into the caller's tenant, which must be empty. Complete when this returns."""
    space = runtime.spaces.current
    file = await _store_file(runtime, caller, passages)
    for first in range(0, len(passages), DOCUMENTS_AT_ONCE):
        some = passages[first : first + DOCUMENTS_AT_ONCE]
        documents = [_document(passage, file) for passage in some]
        cuts = await asyncio.to_thread(_cut_all, space.embedder, some, documents)
        await _store(runtime, caller, documents, cuts)
        cuts.sort(key=lambda cut: len(cut.embedded))  # texts of one length need no padding
        block = Block(first, len(some), len(passages), progress)
        await _embed(runtime, caller, space, cuts, block)
    async with runtime.uow(caller) as uow:
        await uow.evaluation.set_totals()


async def settle(runtime: Runtime, caller: Caller) -> None:
    """What otherwise follows a while after many new passages: what search and the planner know of them as a whole."""
    async with runtime.uow(caller) as uow:
        await uow.evaluation.analyze()
        large = await uow.statistics.is_large(LARGE)
    if large:
        await runtime.statistics.refresh(caller)


async def _store_file(runtime: Runtime, caller: Caller, passages: Sequence[Passage]) -> dict[str, Any]:
    """The columns that name it."""
    key = f"{caller.tenant_id}/{new_id()}"
    async with runtime.storage.receive() as incoming:
        for first in range(0, len(passages), STORED_AT_ONCE):
            some = passages[first : first + STORED_AT_ONCE]
            lines = (json.dumps({"_id": p.id, "title": p.title, "text": p.text}, ensure_ascii=False) for p in some)
            await incoming.write("".join(line + "\n" for line in lines).encode())
        stored = await incoming.commit(key)
    return {"storage_key": key, "size_bytes": stored.size, "sha256": bytes.fromhex(stored.sha256)}


def _document(passage: Passage, file: dict[str, Any]) -> dict[str, Any]:
    return file | {
        "id": new_id(),
        "title": passage.title,
        "filename": "corpus.jsonl",
        "kind": "txt",
        "external_id": passage.id,
    }


def cutting(embedder: Embedder, passages: Sequence[Passage]) -> str:
    """Changes when passages are cut, embedded or searched in another way: a sample of what becomes of them."""
    digest = hashlib.sha256()
    for passage in passages[:SAMPLE]:
        for cut in _cut(embedder, passage, None):
            row = cut.row
            digest.update(f"{row['config']}\0{row['indexed']}\0{cut.embedded}\0{row['char_start']}\0".encode())
    return digest.hexdigest()


def _cut_all(embedder: Embedder, passages: Sequence[Passage], documents: Sequence[dict[str, Any]]) -> list[_Cut]:
    return [
        cut
        for passage, document in zip(passages, documents, strict=True)
        for cut in _cut(embedder, passage, document["id"])
    ]


def _cut(embedder: Embedder, passage: Passage, document_id: Any) -> Iterator[_Cut]:
    splitter = make_splitter(embedder, "en")
    for chunk in [*splitter.begin_page(None), *splitter.feed(passage.text), *splitter.finish()]:
        row = chunk_columns(passage.title, chunk) | {"id": new_id(), "document_id": document_id, "document_version": 1}
        yield _Cut(row, embedded_text(passage.title, chunk.heading, chunk.text))


async def _store(runtime: Runtime, caller: Caller, documents: Sequence[dict[str, Any]], cuts: Sequence[_Cut]) -> None:
    for first in range(0, len(documents), STORED_AT_ONCE):
        async with runtime.uow(caller) as uow:
            await uow.evaluation.add_documents(documents[first : first + STORED_AT_ONCE])
    for first in range(0, len(cuts), STORED_AT_ONCE):
        async with runtime.uow(caller) as uow:
            await uow.chunks.add([cut.row for cut in cuts[first : first + STORED_AT_ONCE]])


async def _embed(runtime: Runtime, caller: Caller, space: Space, cuts: Sequence[_Cut], block: Block) -> None:
    batches = iter([cuts[first : first + EMBEDDED_AT_ONCE] for first in range(0, len(cuts), EMBEDDED_AT_ONCE)])

    async def work() -> None:
        for batch in batches:
            vectors = await space.embedder.embed_documents([cut.embedded for cut in batch])
            async with runtime.uow(caller) as uow:
                await uow.spaces.add_vectors(space.id, [cut.row["id"] for cut in batch], vectors)
            block.embedded(len(batch), len(cuts))

    await run_together(*(work() for _ in range(EMBEDDING_TASKS)))
