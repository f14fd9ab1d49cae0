"""Vectors of texts that a client sends: those of the embedding space in use."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.errors import Invalid
from app.providers.embedding import canonical_name
from app.providers.ports import Embedder, Vectors
from app.services.completions import model_not_found
from app.services.spaces import SpaceService

NAME = "ragchat"
"""Stands for the model in use, whichever it is."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """`tokens` were read: a model leaves out what is longer than its window."""

    model: str
    vectors: Vectors
    tokens: int


class EmbeddingService:
    def __init__(self, spaces: SpaceService) -> None:
        self._spaces = spaces

    async def embed(self, model: str, texts: Sequence[str], *, dimensions: int | None = None) -> Embedded:
        """NotFound(model_not_found), Invalid(unsupported_parameter) for other dimensions than the model's."""
        space = self._spaces.current
        if model != NAME and canonical_name(model) != space.model:
            raise model_not_found()
        if dimensions not in (None, space.dimensions):
            detail = f"This model's vectors have {space.dimensions} dimensions."
            raise Invalid("unsupported_parameter", detail, pointer="/dimensions")
        vectors = await space.embedder.embed_documents(texts)
        tokens = await asyncio.to_thread(_count, space.embedder, texts)
        return Embedded(space.model, vectors, tokens)


def _count(embedder: Embedder, texts: Sequence[str]) -> int:
    return sum(min(len(embedder.token_spans(text)), embedder.max_tokens) for text in texts)
