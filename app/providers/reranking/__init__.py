"""Rerankers by name. The adapter, and what it needs, is imported only when one is chosen."""

from pathlib import Path

from app.core.errors import Unavailable
from app.providers.ports import Reranker


def open_reranker(name: str) -> Reranker:
    """Blocks while the model is loaded: call it from a thread.

    `name` is a cross-encoder of sentence-transformers: on its hub, or a folder.
    Unavailable(reranker_missing | reranker_not_loaded | reranker_not_supported).
    """
    if name.startswith(("/", "./", "../")) and not Path(name).is_dir():  # else it is looked for on the hub
        raise Unavailable("reranker_not_loaded", f"There is no folder {name} with a cross-encoder.")
    from app.providers.reranking.sentence_transformers import load

    return load(name)
