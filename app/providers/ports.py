"""What the service needs of the outside world, one small Protocol each. Adapters live beside this file."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from app.core.quotas import Quota
from app.rag.prompt import ChatMessage as ChatMessage
from app.rag.prompt import Prompt as Prompt

Vectors = npt.NDArray[np.float32]
"""Shape (n, dimensions), rows of length 1."""


class Embedder(Protocol):
    """Texts to unit vectors. Work happens off the event loop, inside the adapter."""

    name: str
    """The model's published name; vectors of equal names are comparable."""
    dimensions: int
    languages: frozenset[str]
    """ISO 639-1 codes that the model was trained for; `*` stands for all."""
    max_tokens: int
    """Longer texts are cut by the model: chunk below this."""

    async def embed_documents(self, texts: Sequence[str]) -> Vectors: ...

    async def embed_query(self, text: str) -> Vectors:
        """Shape (dimensions,)."""
        ...

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) in code points of each of the model's own tokens, in order; no special tokens."""
        ...

    async def close(self) -> None: ...


class Reranker(Protocol):
    """Reads a question and a passage together. Work happens off the event loop, inside the adapter."""

    name: str

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query, in 0..1: the sigmoid of the model's logit, in the order of the texts.

        Unavailable(code="reranker_closed") after `close`.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ListedFile:
    key: str
    size: int
    modified: datetime


class Storage(Protocol):
    """Original files under keys that the service makes; never a name that a client sent.

    NotFound(code="file_missing") when there is no such file, Unavailable or StorageFull when the storage fails.
    """

    async def open(self) -> None:
        """Sweeps what an earlier process left half written. A storage that does not answer is no error yet."""
        ...

    async def close(self) -> None: ...

    def receive(self) -> AbstractAsyncContextManager["Incoming"]:
        """A new file being written; unless `commit` was called, leaving the block removes it."""
        ...

    def local_copy(self, key: str) -> AbstractAsyncContextManager[Path]:
        """The file on this machine while the block lasts."""
        ...

    def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes start..end (end exclusive)."""
        ...

    async def delete(self, key: str) -> None:
        """Every version of it that the storage keeps. No error when it is gone already."""
        ...

    async def check(self) -> None:
        """Raises Unavailable or StorageFull when nothing can be written."""
        ...

    def list_files(self, prefix: str = "") -> AsyncIterator[ListedFile]:
        """Those whose key begins so, in no order."""
        ...

    async def link(self, key: str, *, filename: str, media_type: str, seconds: int) -> str | None:
        """A URL that opens the file without credentials for so long; None when the storage has none of its own."""
        ...


class Incoming(Protocol):
    size: int
    head: bytes
    """The first bytes, enough to tell what kind of file it is."""

    async def write(self, data: bytes) -> None: ...

    async def commit(self, key: str) -> StoredFile:
        """Makes the file durable under the key before returning."""
        ...

    def digest(self) -> str:
        """SHA-256 of what was written so far, in hex."""
        ...


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved passage as a model sees it."""

    n: int
    title: str
    page: int | None
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Generation:
    """A question to the passages themselves."""

    question: str
    passages: Sequence[Passage]
    lang: str
    answerable: bool = True
    """False when the search says that the passages only look a little like the question."""
    supported: bool | None = None
    """Whether words and meaning of their sentences support an answer (rag/support.py); None when words alone tell."""


@dataclass(frozen=True, slots=True)
class Delta:
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last item of every stream; a stream that ends without it was cut off."""

    reason: Literal["stop", "length", "refused", "no_context"]
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelStarted:
    """Before the first delta of a chain of models: which of them answers."""

    name: str


class ChatModel(Protocol):
    """A language model behind an API.

    Unavailable when it fails; a stream that ends without `Finished` was cut off.
    """

    name: str
    """As messages and traces tell it, e.g. `openai/gpt-4o-mini`."""
    window: int
    """Tokens of prompt and answer together."""

    def stream(self, prompt: Prompt) -> AsyncIterator[Delta | Finished]: ...

    async def close(self) -> None: ...


class Left(NamedTuple):
    amount: int
    seconds: float
    """Until some of it is given back."""


class Counters(Protocol):
    """How much each name has taken of a quota within its window. Unavailable(limits_unavailable)"""

    async def take(self, quota: Quota, key: str, amount: int = 1) -> bool:
        """False, and nothing is taken, when that would be more than the quota."""
        ...

    async def left(self, quota: Quota, key: str) -> Left: ...

    async def close(self) -> None: ...
