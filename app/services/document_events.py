"""How far a document's indexing is, told as it happens.

Who follows is woken by the database, and looks by itself every few seconds. No connection is held while waiting.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from app.core.caller import Caller
from app.core.errors import Unavailable
from app.db.notify import Hub
from app.db.uow import UowFactory
from app.schemas.documents import DocumentOut
from app.services.documents import document_out

POLL_SECONDS = 2.0
"""The net under LISTEN/NOTIFY."""
READS_AT_ONCE = 4
"""However many are woken at once, the pool's other connections are for requests."""
LIFE_SECONDS = 600.0
"""A stream ends then without a last event; clients connect again, and show their key again."""


@dataclass(frozen=True, slots=True)
class DocumentEvent:
    """`ready`, `failed` and `deleted` are the last one; `document` is None for `deleted`."""

    type: Literal["progress", "ready", "failed", "deleted"]
    document_id: UUID
    document: DocumentOut | None


class DocumentEvents:
    def __init__(self, uow: UowFactory, hub: Hub, *, life_seconds: float = LIFE_SECONDS) -> None:
        self._uow = uow
        self._hub = hub
        self._life_seconds = life_seconds
        self._reading = asyncio.Semaphore(READS_AT_ONCE)

    @property
    def followers(self) -> int:
        return self._hub.subscribers

    async def follow(self, caller: Caller, document_id: UUID) -> AsyncIterator[DocumentEvent]:
        """The state at once, then each change, to the end. The caller must have loaded the document as theirs."""
        ends_at = asyncio.get_running_loop().time() + self._life_seconds
        last: DocumentOut | None = None
        with self._hub.subscribed(str(document_id)) as changed:
            while not self._hub.closing and asyncio.get_running_loop().time() < ends_at:
                changed.clear()
                with contextlib.suppress(Unavailable):  # the database may come back
                    document = await self._find(caller, document_id)
                    if document is None:
                        yield DocumentEvent("deleted", document_id, None)
                        return
                    if document != last:
                        last = document
                        yield DocumentEvent("progress", document_id, document)
                    if document.status == "ready" or document.status == "failed":
                        yield DocumentEvent(document.status, document_id, document)
                        return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await changed.wait()

    async def _find(self, caller: Caller, document_id: UUID) -> DocumentOut | None:
        async with self._reading, self._uow(caller) as uow:
            row = await uow.documents.get(document_id)
        return document_out(row) if row is not None else None

    def end(self) -> None:
        """Every stream ends: the service is about to stop."""
        self._hub.end()

    async def close(self) -> None:
        await self._hub.close()
