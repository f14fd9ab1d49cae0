"""How documents become passages, and what of a passage is stored.

Passages are as long as the embedding model's tokens say where it knows the language, else as words say: a script that
the model never learnt falls apart into single letters. Passages of 160 of these would hold twenty words, too few for
full text search, which alone finds them.
"""

import re
from typing import Any

from app.languages import detect, get_language
from app.providers.ports import Embedder
from app.rag.chunking import Chunk, Splitter, TokenSpans
from app.rag.indexed_text import content_hash, searched_text

RESERVED_TOKENS = 48
"""Left for the heading or title that is embedded with each chunk, and for the model's own two."""

_WORD = re.compile(r"\S+")


def measured_by(embedder: Embedder) -> TokenSpans:
    def spans(text: str) -> list[tuple[int, int]]:
        if "*" in embedder.languages or detect(text) in embedder.languages:
            return embedder.token_spans(text)
        return [match.span() for match in _WORD.finditer(text)]

    return spans


def make_splitter(embedder: Embedder, default_lang: str) -> Splitter:
    return Splitter(measured_by(embedder), max_tokens=embedder.max_tokens - RESERVED_TOKENS, default_lang=default_lang)


def chunk_columns(title: str, chunk: Chunk) -> dict[str, Any]:
    """What ChunkRepository.add takes, but for the ids and the document."""
    return {
        "chunk_index": chunk.index,
        "page": chunk.page,
        "char_start": chunk.char_start,
        "char_end": chunk.char_end,
        "heading": chunk.heading,
        "content": chunk.text,
        "content_hash": content_hash(title, chunk.heading, chunk.text),
        "token_count": chunk.token_count,
        "lang": chunk.lang,
        "config": get_language(chunk.lang).text_search,
        "indexed": searched_text(title, chunk.heading, chunk.text),
    }
