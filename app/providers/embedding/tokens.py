"""The model's own tokens by its tokenizer.json."""

import os
from collections.abc import Sequence
from pathlib import Path

CLS, SEP = 101, 102


class WordPieces:
    """Safe to use from several threads: nothing about the tokenizer changes once it is made."""

    def __init__(self, file: Path, max_tokens: int) -> None:
        # We bring our own threads. The library's would take the cores from a waiting question, and make it
        # print a warning when the process forks later.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(file))
        # The file asks for 128 tokens, cut and filled up.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._room = max_tokens - 2

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Cut to `max_tokens`, special tokens included."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[CLS, *encoding.ids[: self._room], SEP] for encoding in found]

    def spans(self, text: str) -> list[tuple[int, int]]:
        # A batch of one: unlike `encode` it lets other threads run meanwhile.
        (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
        offsets: list[tuple[int, int]] = encoding.offsets
        return offsets
