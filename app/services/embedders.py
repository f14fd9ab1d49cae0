"""The embedding models of this process, each loaded once, when it is first needed."""

import asyncio
from collections.abc import Callable

from app.core.errors import RagchatError, Unavailable
from app.core.logging import get_logger
from app.providers.embedding import split_name
from app.providers.embedding.narrowed import Narrowed
from app.providers.ports import Embedder

OpenEmbedder = Callable[[str], Embedder]
log = get_logger(__name__)


class Embedders:
    """`model` and `model@256` share one loaded model."""

    def __init__(self, open_: OpenEmbedder) -> None:
        self._open = open_
        self._loading: dict[str, asyncio.Task[Embedder]] = {}

    def begin(self, model: str) -> None:
        """Loads in the background; `get` waits for it."""
        whole, dimensions = split_name(model)
        if dimensions:
            self.begin(whole)
        elif model not in self._loading:
            self._loading[model] = asyncio.create_task(asyncio.to_thread(self._load, model))

    async def get(self, model: str) -> Embedder:
        """Unavailable(embedder_missing, embedder_not_loaded, ...), Invalid(invalid_dimensions). Try again later."""
        whole, dimensions = split_name(model)
        if dimensions:
            return Narrowed(await self.get(whole), dimensions)
        self.begin(model)
        task = self._loading[model]
        try:
            return await asyncio.shield(task)
        except RagchatError:
            if self._loading.get(model) is task:
                del self._loading[model]
            raise

    async def close(self) -> None:
        for task in self._loading.values():
            loaded = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(loaded, BaseException):
                await loaded.close()

    def _load(self, model: str) -> Embedder:
        try:
            return self._open(model)
        except RagchatError:
            raise
        except Exception as exc:  # somebody else's model may fail in any way
            log.warning("embedder.not_loaded", model=model, exc_info=True)
            raise Unavailable("embedder_not_loaded", f"The embedding model {model} could not be loaded.") from exc
