"""Any other embedding model, by the library sentence-transformers: an extra, as it brings torch."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from app.core.errors import Unavailable
from app.providers.embedding.threads import Threads
from app.providers.embedding.tokens import encodable, spans, uncut
from app.providers.ports import Vectors

ENGLISH_ONLY = frozenset({"all-MiniLM-L6-v2", "all-MiniLM-L12-v2", "all-mpnet-base-v2", "all-distilroberta-v1"})
BATCH_TEXTS = 16
"""A question waits for one batch at the most, so it is no larger than speed needs."""


class SentenceTransformers:
    """An `Embedder`; made by `load`."""

    def __init__(self, name: str, model: Any) -> None:
        self.name = name.removeprefix("sentence-transformers/")
        self.dimensions: int = model.get_embedding_dimension()
        self.languages = frozenset({"en"} if self.name in ENGLISH_ONLY else {"*"})
        self.max_tokens: int = model.max_seq_length or model.tokenizer.model_max_length
        self._model = model
        # A copy: the model's own tokenizer is switched between lengths of cut while it encodes.
        self._tokenizer = uncut(model.tokenizer.backend_tokenizer.to_str())
        # One thread: torch uses all cores itself, and its tokenizer cannot be shared.
        self._thread = Threads("sentence-transformers", 1)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
        batches = [order[first : first + BATCH_TEXTS] for first in range(0, len(order), BATCH_TEXTS)]
        await self._thread.each(partial(self._embed, texts, vectors), batches)
        return vectors

    async def embed_query(self, text: str) -> Vectors:
        return await self._thread.run(self._encode, self._model.encode_query, encodable(text))

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return spans(self._tokenizer, text)

    async def close(self) -> None:
        await self._thread.close()

    def _embed(self, texts: Sequence[str], vectors: Vectors, rows: list[int]) -> None:
        vectors[rows] = self._encode(self._model.encode_document, [encodable(texts[row]) for row in rows])

    def _encode(self, encode: Any, text: str | list[str]) -> Vectors:
        found = encode(text, batch_size=BATCH_TEXTS, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, np.float32)


def load(name: str, *, device: str = "cpu") -> SentenceTransformers:
    """`name` on the model hub, or a folder. Unavailable(embedder_missing, embedder_not_loaded)."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import sentence_transformers
    except ImportError as error:
        raise Unavailable(
            "embedder_missing",
            f"The embedding model {name} needs sentence-transformers; `make embeddings` installs it.",
        ) from error
    try:
        model = sentence_transformers.SentenceTransformer(name, device=device)
    except (OSError, ValueError) as error:
        raise Unavailable("embedder_not_loaded", f"The embedding model {name} could not be loaded.") from error
    if not getattr(model.tokenizer, "is_fast", False):
        raise Unavailable(
            "embedder_not_supported", f"The embedding model {name} has no tokenizer that tells positions."
        )
    return SentenceTransformers(name, model)
