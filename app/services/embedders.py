"""The embedding models of this process, each loaded once, when it is first needed."""

import asyncio
from collections.abc import Callable

from app.providers.ports import Embedder

OpenEmbedder = Callable[[str], Embedder]


class Embedders:
    def __init__(self, open_: OpenEmbedder) -> None:
        self._open = open_
        self._loading: dict[str, asyncio.Task[Embedder]] = {}

    def begin(self, model: str) -> None:
        """Loads in the background; `get` waits for it."""
        if model not in self._loading:
            self._loading[model] = asyncio.create_task(asyncio.to_thread(self._open, model))

    async def get(self, model: str) -> Embedder:
        """Unavailable(embedder_missing, embedder_damaged); a later call tries again."""
        self.begin(model)
        try:
            return await asyncio.shield(self._loading[model])
        except Exception:
            self._loading.pop(model, None)
            raise

    async def close(self) -> None:
        for task in self._loading.values():
            loaded = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(loaded, BaseException):
                await loaded.close()
