"""Cross-encoders by the library sentence-transformers: an extra, as it brings torch."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from app.core.errors import Unavailable
from app.core.logging import get_logger
from app.providers.embedding.threads import Threads
from app.providers.embedding.tokens import encodable

BATCH_PAIRS = 8
"""Another question waits for one batch at the most."""
CHARACTERS_A_TOKEN = 8
"""More than any language needs; what is longer the model would cut anyway, in a time that is quadratic where both texts
are too long: 30 s for 20,000 characters each."""
log = get_logger(__name__)


class CrossEncoders:
    """A `Reranker`; made by `load`."""

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self._model = model
        self._most = CHARACTERS_A_TOKEN * (model.max_seq_length or 512)
        # One thread: torch uses all cores itself, and the tokenizer cannot be shared.
        self._thread = Threads("reranker", 1, closed=_closed)

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        found = [0.0] * len(texts)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
        batches = [order[first : first + BATCH_PAIRS] for first in range(0, len(order), BATCH_PAIRS)]
        await self._thread.each(partial(self._score, self._cut(query), texts, found), batches)
        return found

    async def close(self) -> None:
        await self._thread.close()

    def _cut(self, text: str) -> str:
        return encodable(text[: self._most])

    def _score(self, query: str, texts: Sequence[str], found: list[float], rows: list[int]) -> None:
        pairs = [(query, self._cut(texts[row])) for row in rows]
        predicted = self._model.predict(pairs, batch_size=BATCH_PAIRS, activation_fn=_sigmoid, show_progress_bar=False)
        for row, score in zip(rows, predicted, strict=True):
            found[row] = float(score)


def _closed() -> Unavailable:
    return Unavailable("reranker_closed", "The reranker has been closed.")


def load(name: str, *, device: str = "cpu") -> CrossEncoders:
    """`name` on the model hub, or a folder. Unavailable(reranker_missing | reranker_not_loaded |
    reranker_not_supported)."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import sentence_transformers
    except ImportError as error:
        raise Unavailable(
            "reranker_missing", f"The reranker {name} needs sentence-transformers; `make embeddings` installs it."
        ) from error
    try:
        model = sentence_transformers.CrossEncoder(name, device=device)
    except Exception as error:  # somebody else's model may fail in any way
        log.warning("reranker.not_loaded", model=name, exc_info=True)
        raise Unavailable("reranker_not_loaded", f"The reranker {name} could not be loaded.") from error
    if model.num_labels != 1 or _lacks_head(model):
        raise Unavailable("reranker_not_supported", f"The model {name} does not give one score for two texts.")
    return CrossEncoders(name, model)


def _lacks_head(model: Any) -> bool:
    """Of an embedding model: the library adds the layer that gives the score, filled with random numbers."""
    saved_as = model.config.architectures or []
    wanted = "ForSequenceClassification"
    return type(model.model).__name__.endswith(wanted) and not any(name.endswith(wanted) for name in saved_as)


def _sigmoid(logits: Any) -> Any:
    """Some published models leave the logit as it is; thresholds need 0..1."""
    return logits.sigmoid()
