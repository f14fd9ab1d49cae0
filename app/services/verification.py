"""Whether database and storage fit together, and whether anything was left half done. Mends only what it is told to.

missing_file      a version whose original file is gone
orphan_file       a file that nothing refers to
unknown_file      a file whose name is none of ours; never touched
stuck             a document in work that nobody works at
leftover_chunks   chunks that search does not see and no work needs
without_vector    chunks that search sees by their words only

Memory does not grow with the number of files or rows. Both sides may change meanwhile: whatever looks wrong is looked
at again before it is told.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar
from uuid import UUID

from app.core.caller import SYSTEM, tenant_caller
from app.core.errors import NotFound
from app.db.file_list import FileList
from app.db.uow import UnitOfWork, UowFactory
from app.models import Document
from app.providers.ports import Storage
from app.services.ingestion import mark_failed
from app.services.reindexing import ENDED, requeue

Kind = Literal["missing_file", "orphan_file", "unknown_file", "stuck", "leftover_chunks", "without_vector"]
UUID_FORM = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
OURS = re.compile(f"{UUID_FORM}/{UUID_FORM}")
YOUNG = timedelta(hours=1)
"""A file may be there a while before the row of its upload is."""
AT_ONCE = 1000
QUESTIONS_AT_ONCE = 16
FIRST_ID = UUID(int=0)
Row = TypeVar("Row")
Position = TypeVar("Position")


@dataclass(frozen=True, slots=True)
class Repairs:
    delete_orphans: bool = False
    fail_missing: bool = False
    requeue: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """`status` is the document's, None for a superseded version. `action`: what was done about it."""

    kind: Kind
    document_id: UUID | None = None
    version: int | None = None
    status: str | None = None
    key: str | None = None
    size: int | None = None
    modified: datetime | None = None
    count: int | None = None
    action: Literal["deleted", "failed", "requeued"] | None = None


class Verification:
    """`files` counts what the storage holds."""

    def __init__(
        self, uow: UowFactory, storage: Storage, open_list: Callable[[], AbstractAsyncContextManager[FileList]]
    ) -> None:
        self.files = 0
        self._uow = uow
        self._storage = storage
        self._open_list = open_list

    async def run(self, repairs: Repairs) -> AsyncGenerator[Finding, None]:
        async with self._open_list() as listed:
            await self._list(listed)
            async for finding in self._missing(listed, fail=repairs.fail_missing):
                yield finding
            async for finding in self._orphans(listed, delete=repairs.delete_orphans):
                yield finding
        async for finding in self._stuck(mend=repairs.requeue):
            yield finding
        async for finding in self._leftover_chunks():
            yield finding
        async for finding in self._without_vector():
            yield finding

    async def _list(self, listed: FileList) -> None:
        some: list[tuple[str, int, datetime]] = []
        async for file in self._storage.list_files():
            some.append((file.key, file.size, file.modified))
            if len(some) == AT_ONCE:
                await listed.add(some)
                self.files += len(some)
                some.clear()
        await listed.add(some)
        self.files += len(some)
        await listed.finish()

    # --- rows without files ---

    async def _missing(self, listed: FileList, *, fail: bool) -> AsyncIterator[Finding]:
        pages = _pages(
            lambda after: listed.absent(after=after, limit=AT_ONCE),
            (FIRST_ID, 0),
            lambda row: (row["document_id"], row["version"]),
        )
        async for page in pages:
            there = await self._there([row["key"] for row in page])
            rows = [row for row in page if row["key"] not in there]
            async with self._uow(SYSTEM) as uow:  # after the files: a document that is deleted loses its row first
                still = await uow.verification.referenced([row["key"] for row in rows])
            for row in rows:
                if row["key"] in still:
                    failed = fail and row["status"] is not None and await self._fail(row)
                    yield Finding("missing_file", **_without_tenant(row), action="failed" if failed else None)

    async def _fail(self, row: dict[str, Any]) -> bool:
        async with self._uow(tenant_caller(row["tenant_id"])) as uow:
            document = await _unchanged(uow, row)
            if document is None or document.storage_key != row["key"] or document.status == "ready":
                return False
            error = NotFound("file_missing", "The original file is not in the storage; upload it again.")
            if document.error_code == error.code:
                return False
            await mark_failed(uow, document.id, document.version, code=error.code, detail=error.detail)
            return True

    async def _there(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that have a file now."""
        found: set[str] = set()
        for first in range(0, len(keys), QUESTIONS_AT_ONCE):
            some = keys[first : first + QUESTIONS_AT_ONCE]
            answers = await asyncio.gather(*(self._is_there(key) for key in some))
            found |= {key for key, there in zip(some, answers, strict=True) if there}
        return found

    async def _is_there(self, key: str) -> bool:
        try:
            async for _ in self._storage.stream(key, 0, 1):
                pass
        except NotFound:
            return False
        return True

    # --- files without rows ---

    async def _orphans(self, listed: FileList, *, delete: bool) -> AsyncIterator[Finding]:
        pages = _pages(
            lambda after: listed.unreferenced(after=after, older_than=YOUNG, limit=AT_ONCE), "", lambda file: file[0]
        )
        async for page in pages:
            ours = [key for key, _, _ in page if OURS.fullmatch(key)]
            wanted = await self._wanted(ours)
            there = await self._there([key for key in ours if key not in wanted])
            for key, size, modified in page:
                if not OURS.fullmatch(key):
                    yield Finding("unknown_file", key=key, size=size, modified=modified)
                elif key in there:
                    deleted = delete and await self._delete(key)
                    action: Literal["deleted"] | None = "deleted" if deleted else None
                    yield Finding("orphan_file", key=key, size=size, modified=modified, action=action)

    async def _delete(self, key: str) -> bool:
        """Unless it is wanted after all."""
        if await self._wanted([key]):
            return False
        await self._storage.delete(key)
        return True

    async def _wanted(self, keys: list[str]) -> set[str]:
        """Those that a row refers to, or that a job is about to delete."""
        async with self._uow(SYSTEM) as uow:
            return await uow.verification.wanted(keys)

    # --- inside the database ---

    async def _stuck(self, *, mend: bool) -> AsyncIterator[Finding]:
        async def read(after: UUID) -> list[dict[str, Any]]:
            async with self._uow(SYSTEM) as uow:
                return await uow.verification.stuck(after=after, limit=AT_ONCE)

        async for page in _pages(read, FIRST_ID, lambda row: row["document_id"]):
            for row in page:
                requeued = mend and await self._requeue(row)
                yield Finding("stuck", **_without_tenant(row), action="requeued" if requeued else None)

    async def _requeue(self, row: dict[str, Any]) -> bool:
        async with self._uow(tenant_caller(row["tenant_id"])) as uow:
            document = await _unchanged(uow, row)
            if document is None or document.status in ENDED:
                return False
            await requeue(uow, document)
            return True

    async def _leftover_chunks(self) -> AsyncIterator[Finding]:
        async def read(after: tuple[UUID, int]) -> list[dict[str, Any]]:
            async with self._uow(SYSTEM) as uow:
                return await uow.verification.leftover_chunks(after=after, limit=AT_ONCE)

        async for page in _pages(read, (FIRST_ID, 0), lambda row: (row["document_id"], row["version"])):
            for row in page:
                yield Finding("leftover_chunks", **row)

    async def _without_vector(self) -> AsyncIterator[Finding]:
        async def read(after: UUID) -> list[dict[str, Any]]:
            async with self._uow(SYSTEM) as uow:
                return await uow.verification.without_vector(after=after, limit=AT_ONCE)

        async for page in _pages(read, FIRST_ID, lambda row: row["document_id"]):
            for row in page:
                yield Finding("without_vector", **row)


async def _pages(
    read: Callable[[Position], Awaitable[list[Row]]], first: Position, position: Callable[[Row], Position]
) -> AsyncIterator[list[Row]]:
    """Page after page of what `read` finds behind a position."""
    after = first
    while page := await read(after):
        yield page
        after = position(page[-1])


async def _unchanged(uow: UnitOfWork, row: dict[str, Any]) -> Document | None:
    """The document, locked, while the version is still its newest."""
    document = await uow.documents.get(row["document_id"], for_update=True)
    return document if document is not None and document.version == row["version"] else None


def _without_tenant(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "tenant_id"}
