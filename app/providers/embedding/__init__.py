"""Embedding models by name. An adapter, and what it needs, is imported only when it is chosen."""

import re
from pathlib import Path

from app.core.errors import Unavailable
from app.providers.embedding import minilm
from app.providers.embedding.narrowed import Narrowed
from app.providers.ports import Embedder

SHIPPED = minilm.NAME
ALIASES = frozenset({SHIPPED, f"sentence-transformers/{SHIPPED}"})
ORGANISATION = "sentence-transformers/"
_NARROWED = re.compile(r"(?P<model>.+)@(?P<dimensions>[1-9][0-9]{1,3})\Z", re.DOTALL)


def canonical_name(name: str) -> str:
    """The name that the embedder made of it will have."""
    whole, dimensions = split_name(name)
    if dimensions:
        return f"{canonical_name(whole)}@{dimensions}"
    return name.removeprefix(ORGANISATION)


def split_name(name: str) -> tuple[str, int | None]:
    """`model@256` keeps the first 256 dimensions of `model`."""
    narrowed = _NARROWED.match(name)
    return (narrowed["model"], int(narrowed["dimensions"])) if narrowed else (name, None)


def open_embedder(name: str, *, precision: minilm.Precision = "auto") -> Embedder:
    """Blocks while the model is loaded: call it from a thread.

    Any name but the shipped model's is a model of sentence-transformers: a name on its hub or a folder.
    `precision` is the shipped model's alone. Unavailable(embedder_missing, embedder_not_loaded, ...),
    Invalid(invalid_dimensions) when `model@n` would not be narrower.
    """
    whole, dimensions = split_name(name)
    if dimensions:
        return Narrowed(open_embedder(whole, precision=precision), dimensions)
    if name in ALIASES:
        return minilm.load(precision=precision)
    if name.startswith(("/", "./", "../")) and not Path(name).is_dir():  # else it is looked for on the hub
        raise Unavailable("embedder_not_loaded", f"There is no folder {name} with an embedding model.")
    from app.providers.embedding.sentence_transformers import load

    return load(name)
