"""Vectors for the chunks that a space lacks, of all tenants."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.background import run_together
from app.core.caller import SYSTEM
from app.db.uow import UowFactory
from app.providers.ports import Embedder
from app.rag.indexed_text import embedded_text
from app.services.leases import Lease

WINDOW = 256
WINDOWS_A_RUN = 8
"""Then the job goes back to the queue, so that documents do not wait for it."""
FIRST_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding space whose model is loaded."""

    id: int
    model: str
    dimensions: int
    languages: frozenset[str]
    embedder: Embedder


class Filler:
    """Two windows at a time: one is embedded while the other is read or written."""

    def __init__(self, uow: UowFactory, space: Space, lease: Lease) -> None:
        self._uow = uow
        self._space = space
        self._lease = lease
        self._after = FIRST_ID
        self._left = WINDOWS_A_RUN
        self._exhausted = False
        self._turn = asyncio.Lock()

    async def run(self) -> bool:
        """True when it has come to the last chunk. Those that came in behind it meanwhile are for the next run."""
        await run_together(self._work(), self._work())
        return self._exhausted

    async def _work(self) -> None:
        while self._left > 0 and not self._exhausted:
            self._left -= 1
            rows = await self._next_window()
            if rows:
                await self._embed(rows)

    async def _next_window(self) -> list[dict[str, Any]]:
        async with self._turn, self._uow(SYSTEM) as uow:
            rows = await uow.spaces.unfilled(self._space.id, after=self._after, limit=WINDOW)
            if rows:
                self._after = rows[-1]["id"]
            else:
                self._exhausted = True
        return rows

    async def _embed(self, rows: Sequence[dict[str, Any]]) -> None:
        texts = [embedded_text(row["title"], row["heading"], row["content"]) for row in rows]
        vectors = await self._space.embedder.embed_documents(texts)
        async with self._uow(SYSTEM) as uow:
            await self._lease.hold(uow)
            await uow.spaces.add_vectors(self._space.id, [row["id"] for row in rows], vectors)
