"""The adapters under test, and texts for them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from app.providers.embedding import minilm, open_embedder, weights
from app.providers.embedding.sentence_transformers import load as load_sentence_transformers
from app.providers.ports import Embedder, Vectors

ROOT = Path(__file__).resolve().parents[2]
SCIFACT = ROOT.parent / "shared" / "data" / "scifact" / "corpus.jsonl.gz"
REFERENCE = Path(__file__).with_name("embedding_reference.json")
TELUGU = "నమస్కారం 👍 hello"
PARAGRAPH = (
    "A parcel that arrives damaged can be sent back within thirty days. Keep the box and take two pictures: one of "
    "the label and one of the damage. The refund is paid to the card that was used, usually within five working days. "
)
EXTRA = pytest.mark.embeddings


def load(kind: str) -> Embedder:
    if kind == "sentence-transformers":
        if importlib.util.find_spec("sentence_transformers") is None:
            pytest.skip("sentence-transformers is not installed: make embeddings")
        return load_sentence_transformers(str(weights.model_folder()))
    if kind == "narrowed":
        return open_embedder(f"{minilm.NAME}@128")
    return minilm.load(precision="f32" if kind == "minilm-f32" else "auto")


KINDS = ["minilm", "narrowed", pytest.param("sentence-transformers", marks=EXTRA)]


def cosines(a: Vectors, b: Vectors) -> Vectors:
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    found: Vectors = (a * b).sum(axis=-1) / lengths
    return found


def some_texts(count: int, repeat: int = 3) -> list[str]:
    return [f"Case {number}. " + PARAGRAPH * repeat for number in range(count)]
