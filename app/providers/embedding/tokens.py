"""The model's own tokens by its tokenizer.json."""

import os
import re
from collections.abc import Sequence
from typing import Any

CLS, SEP = 101, 102

Spans = list[tuple[int, int]]

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
    return _SURROGATES.sub("\ufffd", text)


def spans(tokenizer: Any, text: str) -> Spans:
    """(start, end) in code points of each token, special ones left out."""
    # A batch of one: unlike `encode` it lets other threads run meanwhile.
    (encoding,) = tokenizer.encode_batch([encodable(text)], add_special_tokens=False)
    offsets: Spans = encoding.offsets
    return offsets


def bert_ids(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Cut to `max_tokens`, the two special tokens included."""
    found = tokenizer.encode_batch_fast([encodable(text) for text in texts], add_special_tokens=False)
    return [[CLS, *encoding.ids[: max_tokens - 2], SEP] for encoding in found]
