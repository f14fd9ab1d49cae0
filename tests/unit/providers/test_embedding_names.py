"""What the name of an embedding model may look like, and what it is called in the end."""

import pytest

from app.providers.embedding import SHIPPED, canonical_name, split_name


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        (SHIPPED, SHIPPED),
        (f"sentence-transformers/{SHIPPED}", SHIPPED),
        (f"sentence-transformers/{SHIPPED}@256", f"{SHIPPED}@256"),
        ("sentence-transformers/all-mpnet-base-v2", "all-mpnet-base-v2"),
        ("intfloat/multilingual-e5-small", "intfloat/multilingual-e5-small"),
        ("/models/ours@128", "/models/ours@128"),
    ],
)
def test_canonical_name(given: str, canonical: str) -> None:
    assert canonical_name(given) == canonical
    assert canonical_name(canonical) == canonical


@pytest.mark.parametrize(
    ("name", "whole", "dimensions"),
    [
        ("m@10", "m", 10),
        ("m@9999", "m", 9999),
        ("m@9", "m@9", None),
        ("m@10000", "m@10000", None),
        ("m@064", "m@064", None),
        ("m@64x", "m@64x", None),
        ("m@64\n", "m@64\n", None),
        ("@64", "@64", None),
        ("m", "m", None),
    ],
)
def test_split_name(name: str, whole: str, dimensions: int | None) -> None:
    assert split_name(name) == (whole, dimensions)
