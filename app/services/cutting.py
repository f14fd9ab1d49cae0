"""How long passages are: by the embedding model's tokens where it knows the language, else by words.

A model falls apart into single letters on a script that it never learnt: passages of 160 such tokens would hold
twenty words, too few for full text search, which alone finds them.
"""

import re

from app.languages import detect
from app.providers.ports import Embedder
from app.rag.chunking import TokenSpans

_WORD = re.compile(r"\S+")


def measured_by(embedder: Embedder) -> TokenSpans:
    def spans(text: str) -> list[tuple[int, int]]:
        if "*" in embedder.languages or detect(text) in embedder.languages:
            return embedder.token_spans(text)
        return [match.span() for match in _WORD.finditer(text)]

    return spans
