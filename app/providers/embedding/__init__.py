"""Embedding models by name. An adapter, and what it needs, is imported only when it is chosen."""

import re

from app.providers.embedding import minilm
from app.providers.embedding.narrowed import Narrowed
from app.providers.ports import Embedder

SHIPPED = minilm.NAME
ALIASES = frozenset({SHIPPED, f"sentence-transformers/{SHIPPED}"})


_NARROWED = re.compile(r"(?P<model>.+)@(?P<dimensions>[1-9][0-9]{1,3})\Z")


def canonical_name(name: str) -> str:
    """The name that the embedder made of it will have."""
    model, at, dimensions = name.rpartition("@")
    if at and _NARROWED.match(name):
        return f"{canonical_name(model)}@{dimensions}"
    return SHIPPED if name in ALIASES else name


def open_embedder(name: str, *, precision: minilm.Precision = "auto") -> Embedder:
    """Blocks while the model is loaded: call it from a thread.

    Any name but the shipped model's is a model of sentence-transformers: a name on its hub or a folder.
    `model@256` keeps the first 256 dimensions. `precision` is the shipped model's alone.
    Unavailable(embedder_missing) when it is not installed.
    """
    narrowed = _NARROWED.match(name)
    if narrowed:
        whole = open_embedder(narrowed["model"], precision=precision)
        return Narrowed(whole, int(narrowed["dimensions"]))
    if name in ALIASES:
        return minilm.load(precision=precision)
    from app.providers.embedding.sentence_transformers import load

    return load(name)
