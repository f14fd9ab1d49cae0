"""Vectors of texts that a client sends: those of the embedding space in use."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from app.core.caller import Caller
from app.core.errors import Invalid, RateLimited, Unavailable
from app.providers.embedding import canonical_name
from app.providers.ports import Embedder, Vectors
from app.services.completions import model_not_found
from app.services.filling import Space
from app.services.spaces import SpaceService

NAME = "ragchat"
"""Stands for the model in use, whichever it is."""
BATCH_TEXTS = 32
"""Embedded together; whoever has left by then is not worked for any longer."""
MOST_REQUESTS = 2
"""At a time in a process: documents and questions want the processor, too."""
RETRY_SECONDS = 1.0
CHARS_A_TOKEN = 16
"""Of a text so much is looked at first; more of it where that holds too few tokens."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """`tokens` were read: a model leaves out what is longer than its window."""

    vectors: Vectors
    tokens: int


class EmbeddingService:
    def __init__(self, spaces: SpaceService) -> None:
        self._spaces = spaces
        self._busy: set[str] = set()

    @property
    def running(self) -> int:
        return len(self._busy)

    @contextlib.contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """For one request. RateLimited(too_many_embeddings) beside another one of the caller's, Unavailable(
        embeddings_busy) beside too many of others."""
        if caller.principal in self._busy:
            said = "Another request of yours for embeddings is running; send the next one when it is answered."
            raise RateLimited("too_many_embeddings", said, retry_after=RETRY_SECONDS)
        if self.running >= MOST_REQUESTS:
            raise Unavailable("embeddings_busy", "Embeddings are made for others just now.", retry_after=RETRY_SECONDS)
        self._busy.add(caller.principal)
        try:
            yield
        finally:
            self._busy.discard(caller.principal)

    def space(self, model: str, *, dimensions: int | None = None) -> Space:
        """NotFound(model_not_found), Invalid(unsupported_parameter) for other dimensions than the model's."""
        space = self._spaces.current
        if model != NAME and canonical_name(model) != space.model:
            raise model_not_found()
        if dimensions not in (None, space.dimensions):
            detail = f"This model's vectors have {space.dimensions} dimensions."
            raise Invalid("unsupported_parameter", detail, pointer="/dimensions")
        return space

    async def embed(self, space: Space, texts: Sequence[str]) -> AsyncIterator[Embedded]:
        """A batch at a time, in the order of the texts. Cancelled, it begins no other one."""
        for first in range(0, len(texts), BATCH_TEXTS):
            batch = texts[first : first + BATCH_TEXTS]
            read, tokens = await asyncio.to_thread(_what_is_read, space.embedder, batch)
            yield Embedded(await space.embedder.embed_documents(read), tokens)


def _what_is_read(embedder: Embedder, texts: Sequence[str]) -> tuple[list[str], int]:
    """The beginnings that fill the model's window, and their tokens: a text of a megabyte is not cut up to its end."""
    read, tokens = [], 0
    for text in texts:
        chars = embedder.max_tokens * CHARS_A_TOKEN
        found = len(embedder.token_spans(text[:chars]))
        while found <= embedder.max_tokens and chars < len(text):
            chars *= 2
            found = len(embedder.token_spans(text[:chars]))
        read.append(text[:chars])
        tokens += min(found, embedder.max_tokens)
    return read, tokens
