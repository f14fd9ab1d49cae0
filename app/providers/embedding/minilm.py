"""The shipped model, all-MiniLM-L6-v2, on OpenVINO: four times as fast as sentence-transformers and without torch.

Documents run on as many single-thread streams as there are cores; a question has a compiled model of its own,
which shares the weights, and so never waits behind a batch.
"""

import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from app.providers.embedding import graph
from app.providers.embedding.batches import LENGTH_STEP, Batch, padded, plan
from app.providers.embedding.threads import Threads
from app.providers.embedding.tokens import CLS, SEP, WordSpans, bert_ids, uncut
from app.providers.embedding.weights import SafeTensors, check, model_folder
from app.providers.ports import Vectors

NAME = "all-MiniLM-L6-v2"
MAX_TOKENS = 256
MAX_STREAMS = 4
QUERY_STREAMS = 2
TOKENIZE_TEXTS = 64
BACKGROUND_NICENESS = 10
"""Questions, the event loop and the database come before documents."""

Precision = Literal["auto", "f32"]
Ids = list[list[int]]


class MiniLM:
    """An `Embedder`; made by `load`."""

    name = NAME
    dimensions = graph.DIMENSIONS
    languages = frozenset({"en"})
    max_tokens = MAX_TOKENS

    def __init__(self, tokenizer: Any, weights: SafeTensors, models: "_Models") -> None:
        self._tokenizer = tokenizer
        self._spans = WordSpans(tokenizer)
        self._weights = weights  # the compiled models read from its memory
        self._for_documents = _Runner(models.documents)
        self._for_queries = _Runner(models.queries)
        self._warm_up()
        self._documents = Threads("embed-documents", models.streams, niceness=BACKGROUND_NICENESS)
        self._queries = Threads("embed-query", QUERY_STREAMS)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        ids: Ids = [[] for _ in texts]
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        await self._documents.each(partial(self._tokenize, texts, ids), range(0, len(texts), TOKENIZE_TEXTS))
        batches = plan([len(row) for row in ids])
        await self._documents.each(partial(self._embed, ids, vectors), batches)
        return vectors

    async def embed_query(self, text: str) -> Vectors:
        return await self._queries.run(self._embed_one, text)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return self._spans(text)

    async def close(self) -> None:
        await self._documents.close()
        await self._queries.close()

    def _warm_up(self) -> None:
        """The first use packs the weights; what was read for it is not needed again, but for some words."""
        self._for_queries([[CLS, SEP]], LENGTH_STEP)
        self._for_documents([[CLS, SEP]], LENGTH_STEP)
        self._weights.forget()

    def _tokenize(self, texts: Sequence[str], ids: Ids, first: int) -> None:
        part = slice(first, first + TOKENIZE_TEXTS)
        ids[part] = bert_ids(self._tokenizer, texts[part], MAX_TOKENS)

    def _embed(self, ids: Ids, vectors: Vectors, batch: Batch) -> None:
        vectors[batch.rows] = self._for_documents([ids[row] for row in batch.rows], batch.length)

    def _embed_one(self, text: str) -> Vectors:
        (ids,) = bert_ids(self._tokenizer, [text], MAX_TOKENS)
        vector: Vectors = self._for_queries([ids], padded(len(ids)))[0].copy()
        return vector


class _Runner:
    """Calls a compiled model, from each thread with a request of its own."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._own = threading.local()

    def __call__(self, rows: Ids, length: int) -> Vectors:
        """(len(rows), 384), overwritten by the thread's next call."""
        ids = np.zeros((len(rows), length), np.int32)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        result = self._own.request.infer([ids, mask], share_inputs=True, share_outputs=True)
        vectors: Vectors = result[0]
        return vectors


class _Models:
    def __init__(self, weights: SafeTensors, precision: Precision, *, streams: int) -> None:
        core = _openvino().Core()
        model = graph.build(weights.tensor)
        self.streams = streams
        self.documents = core.compile_model(model, "CPU", _configuration(precision, streams))
        self.queries = core.compile_model(model, "CPU", _configuration(precision, QUERY_STREAMS))


def _configuration(precision: Precision, streams: int) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": streams,
        # Pinned, the question's thread would share one core with a busy stream while another idles.
        "ENABLE_CPU_PINNING": False,
        # Kernels kept for shapes met before; the default of 5,000 only costs memory here.
        "CPU_RUNTIME_CACHE_CAPACITY": "16",
    }
    if precision == "f32":
        chosen["INFERENCE_PRECISION_HINT"] = "f32"
    return chosen


def _openvino() -> Any:
    # `import openvino` alone reports the use of the library to its maker over the network, by its model
    # converter, which we never need. Python takes None for "cannot be imported"; openvino allows for that.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def load(*, precision: Precision = "auto", streams: int | None = None, folder: Path | None = None) -> MiniLM:
    """Blocks for about 0.4 s. Unavailable(embedder_missing, embedder_damaged).

    `auto` computes in bf16 where the processor can (cosine to f32 above 0.999), in f32 elsewhere.
    """
    folder = folder or model_folder()
    weights = SafeTensors(folder / "model.safetensors")
    with ThreadPoolExecutor(1) as aside:
        checked = aside.submit(check, folder / "model.safetensors")
        try:
            models = _Models(weights, precision, streams=streams or _streams())
        finally:
            checked.result()  # explains whatever went wrong with other weights
    tokenizer = uncut((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return MiniLM(tokenizer, weights, models)


def _streams() -> int:
    """One for each core that this process may use; each holds some memory."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MAX_STREAMS)
