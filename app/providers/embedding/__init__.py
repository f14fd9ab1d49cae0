"""Embedding models by name. An adapter, and what it needs, is imported only when it is chosen."""

from app.providers.embedding import minilm
from app.providers.ports import Embedder

SHIPPED = minilm.NAME
ALIASES = frozenset({SHIPPED, f"sentence-transformers/{SHIPPED}"})


def open_embedder(name: str, *, precision: minilm.Precision = "auto") -> Embedder:
    """Blocks while the model is loaded: call it from a thread.

    Any name but the shipped model's is a model of sentence-transformers: a name on its hub or a folder.
    `precision` is the shipped model's alone. Unavailable(embedder_missing) when it is not installed.
    """
    if name in ALIASES:
        return minilm.load(precision=precision)
    from app.providers.embedding.sentence_transformers import load

    return load(name)
