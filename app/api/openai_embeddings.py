"""A list of embeddings, written a batch at a time beside the event loop: thousands of numbers take their time."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Literal

from app.providers.ports import Vectors
from app.services.embeddings import Embedded

Encoding = Literal["float", "base64"]


async def embedding_list(batches: AsyncIterator[Embedded], model: str, encoding: Encoding) -> bytes:
    """The body of the answer."""
    parts: list[bytes] = []
    tokens = count = 0
    async for batch in batches:
        parts.append(await asyncio.to_thread(_written, batch.vectors, count, encoding))
        tokens, count = tokens + batch.tokens, count + len(batch.vectors)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    rest = json.dumps({"object": "list", "model": model, "usage": usage}, ensure_ascii=False, separators=(",", ":"))
    return b"".join((rest[:-1].encode(), b',"data":[', b",".join(parts), b"]}"))


def _written(vectors: Vectors, first: int, encoding: Encoding) -> bytes:
    """Vector by vector: what turns one into text lets nobody else run meanwhile."""
    items = (_item(vector, index, encoding) for index, vector in enumerate(vectors, start=first))
    return ",".join(items).encode()


def _item(vector: Vectors, index: int, encoding: Encoding) -> str:
    told = base64.b64encode(vector.astype("<f4").tobytes()).decode() if encoding == "base64" else vector.tolist()
    return json.dumps({"object": "embedding", "index": index, "embedding": told}, separators=(",", ":"))
