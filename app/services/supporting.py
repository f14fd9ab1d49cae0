"""How well the passages of a turn support an answer that no language model writes."""

import asyncio
from collections.abc import Sequence

from app.core.errors import RagchatError
from app.core.logging import get_logger
from app.providers.ports import Embedder
from app.rag.answerability import is_measured
from app.rag.passages import Passage
from app.rag.support import Run, best_runs, is_enough
from app.services.spaces import SpaceService

log = get_logger(__name__)


class Supporting:
    """Without `spaces` nothing is measured, and words alone decide."""

    def __init__(self, spaces: SpaceService | None = None) -> None:
        self._spaces = spaces

    async def measure(self, question: str, passages: Sequence[Passage], lang: str) -> float | None:
        """None where the model's cosines do not tell: of another model, or of a language that it does not know."""
        if self._spaces is None or not passages:
            return None
        try:
            space = self._spaces.current
            if lang not in space.languages or not is_measured(space.model):
                return None
            best = await asyncio.to_thread(best_runs, question, passages, lang)
            return await _best(space.embedder, question, best)
        except RagchatError as exc:
            log.warning("support.by_words_alone", code=exc.code)
            return None


async def _best(embedder: Embedder, question: str, runs: Sequence[Run]) -> float:
    """Of the first that is enough, else of the best: most answers need one or two."""
    asked = await embedder.embed_query(question)
    found = 0.0
    for run in runs:
        found = max(found, run.support(float(await embedder.embed_query(run.text) @ asked)))
        if is_enough(found):
            break
    return found
