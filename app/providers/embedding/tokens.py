"""The model's own tokens by its tokenizer.json."""

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

CLS, SEP = 101, 102

Spans = list[tuple[int, int]]

MOST_WORDS = 50_000
"""Remembered at a time: some megabytes."""
LONGEST_WORD = 32
"""In code points; longer ones are not remembered."""
_SPACES = np.array([*map(ord, " \t\n\r\u00a0\u1680\u2028\u2029\u202f\u205f\u3000"), *range(0x2000, 0x200B)], np.uint32)
"""What BERT's normalizer takes for white space; form feeds and other control characters it drops, joining words."""
_SURROGATES = re.compile("[\ud800-\udfff]")


def uncut(definition: str) -> Any:
    """A `tokenizers.Tokenizer` that neither cuts nor fills up, whatever its definition (JSON) asks for.

    Nothing about it is to be changed later: then it is safe to use from several threads.
    """
    # We bring our own threads. The library's would take the cores from a waiting question, and make it
    # print a warning when the process forks later.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(definition)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def encodable(text: str) -> str:
    """The same text, of the same length: half a UTF-16 pair, which JSON can smuggle in, becomes U+FFFD."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def spans(tokenizer: Any, text: str) -> Spans:
    """(start, end) in code points of each token, special ones left out."""
    # A batch of one: unlike `encode` it lets other threads run meanwhile.
    (encoding,) = tokenizer.encode_batch([encodable(text)], add_special_tokens=False)
    offsets: Spans = encoding.offsets
    return offsets


class WordSpans:
    """The spans of a BERT tokenizer's tokens. It looks at one word at a time: words met before
    are not cut again."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, Spans] = {}

    def __call__(self, text: str) -> Spans:
        text = encodable(text)
        starts, ends = _edges(text)
        words = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        found = [*map(self._known.get, words)]
        if None in found:
            fresh = self._learned({word for word, spans in zip(words, found, strict=True) if spans is None})
            found = [fresh[word] if spans is None else spans for word, spans in zip(words, found, strict=True)]
        placed = zip(starts, found, strict=True)
        return [(at + start, at + end) for at, spans in placed if spans for start, end in spans]

    def _learned(self, words: set[str]) -> dict[str, Spans]:
        """Other threads may look words up meanwhile."""
        encodings = self._tokenizer.encode_batch([*words], add_special_tokens=False)
        found: dict[str, Spans] = dict(zip(words, (encoding.offsets for encoding in encodings), strict=True))
        kept = {word: spans for word, spans in found.items() if len(word) <= LONGEST_WORD}
        if len(self._known) + len(kept) > MOST_WORDS:
            self._known = {}
        self._known |= kept
        return found


def _edges(text: str) -> tuple[list[int], list[int]]:
    """Where words begin and where they end."""
    is_space = np.ones(len(text) + 2, bool)
    is_space[1:-1] = np.isin(np.frombuffer(text.encode("utf-32-le"), "<u4"), _SPACES)
    edges = np.flatnonzero(is_space[1:] != is_space[:-1])
    return edges[::2].tolist(), edges[1::2].tolist()


def bert_ids(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Cut to `max_tokens`, the two special tokens included."""
    found = tokenizer.encode_batch_fast([encodable(text) for text in texts], add_special_tokens=False)
    return [[CLS, *encoding.ids[: max_tokens - 2], SEP] for encoding in found]
