"""The first dimensions of a model's vectors: less memory and faster search, for some loss.

Models trained for it lose little (Kusupati et al. 2022, "Matryoshka Representation Learning"); others more: compare.
"""

from collections.abc import Sequence

import numpy as np

from app.core.errors import Invalid
from app.providers.ports import Embedder, Vectors


class Narrowed:
    """An `Embedder` around another one."""

    def __init__(self, whole: Embedder, dimensions: int) -> None:
        if dimensions >= whole.dimensions:
            raise Invalid("invalid_dimensions", f"The model has {whole.dimensions} dimensions; fewer can be kept.")
        self._whole = whole
        self.name = f"{whole.name}@{dimensions}"
        self.dimensions = dimensions
        self.languages = whole.languages
        self.max_tokens = whole.max_tokens

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return self._narrowed(await self._whole.embed_documents(texts))

    async def embed_query(self, text: str) -> Vectors:
        return self._narrowed(await self._whole.embed_query(text))

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return self._whole.token_spans(text)

    async def close(self) -> None:
        await self._whole.close()

    def _narrowed(self, vectors: Vectors) -> Vectors:
        kept = vectors[..., : self.dimensions]
        length = np.linalg.norm(kept, axis=-1, keepdims=True)
        unit: Vectors = kept / np.maximum(length, np.finfo(np.float32).tiny)
        return unit
