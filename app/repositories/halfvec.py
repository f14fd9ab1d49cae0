"""Vectors on the wire: the binary form of pgvector's halfvec, which is its width, two zero bytes and 16-bit floats.

Spelled as text, or as an array of numbers that the driver looks at one by one, a document's vectors would keep the
event loop from anything else.
"""

import numpy as np
import numpy.typing as npt

HALF = np.dtype(">f2")


def encoded(vector: npt.ArrayLike) -> bytes:
    return encoded_rows(np.asarray(vector)[np.newaxis])[0]


def encoded_rows(vectors: npt.NDArray[np.floating]) -> list[bytes]:
    """Of shape (n, width)."""
    head = vectors.shape[1].to_bytes(2, "big") + b"\0\0"
    return [head + row.tobytes() for row in vectors.astype(HALF)]


def decoded(data: bytes) -> npt.NDArray[np.floating]:
    return np.frombuffer(data, HALF, offset=4)
