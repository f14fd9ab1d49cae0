"""What the storage holds, as a temporary table: the database compares it with what it refers to, however long it is."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db.engine import database_errors, driver_connection

MAKE = "SET ROLE ragchat_system; CREATE TEMPORARY TABLE listed_files (key text, size bigint, modified timestamptz)"
FINISH = "CREATE INDEX ON listed_files (key); ANALYZE listed_files"

UNREFERENCED = """
SELECT f.key, f.size, f.modified FROM listed_files f
WHERE f.key > $1 AND f.modified < now() - $2::interval
  AND NOT EXISTS (SELECT 1 FROM documents d WHERE d.storage_key = f.key)
  AND NOT EXISTS (SELECT 1 FROM document_versions v WHERE v.storage_key = f.key)
  AND NOT EXISTS (
    SELECT 1 FROM jobs j WHERE j.dedupe_key = 'file.delete:' || f.key AND j.state IN ('queued', 'running')
  )
ORDER BY f.key LIMIT $3
"""

ABSENT = """
SELECT r.document_id, r.version, r.tenant_id, r.status, r.key FROM (
    SELECT id AS document_id, version, tenant_id, status, storage_key AS key FROM documents
    UNION ALL
    SELECT document_id, version, tenant_id, NULL, storage_key FROM document_versions
) AS r
WHERE (r.document_id, r.version) > ($1, $2)
  AND NOT EXISTS (SELECT 1 FROM listed_files f WHERE f.key = r.key)
ORDER BY r.document_id, r.version LIMIT $3
"""


class FileList:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, files: Sequence[tuple[str, int, datetime]]) -> None:
        """(key, size, time of the last change)"""
        with database_errors():
            await self._connection.copy_records_to_table("listed_files", records=files)

    async def finish(self) -> None:
        """Between the last `add` and the first question."""
        with database_errors():
            await self._connection.execute(FINISH)

    async def unreferenced(self, *, after: str, older_than: timedelta, limit: int) -> list[tuple[str, int, datetime]]:
        """Files that no row refers to and no job is about to delete, in the order of their keys."""
        with database_errors():
            rows = await self._connection.fetch(UNREFERENCED, after, older_than, limit)
        return [(row["key"], row["size"], row["modified"]) for row in rows]

    async def absent(self, *, after: tuple[UUID, int], limit: int) -> list[dict[str, Any]]:
        """document_id, version, tenant_id, status and key of versions whose file was not listed, in the order of the
        first two. The status is None for superseded versions."""
        with database_errors():
            return [dict(row) for row in await self._connection.fetch(ABSENT, *after, limit)]


@contextlib.asynccontextmanager
async def open_file_list(engine: AsyncEngine) -> AsyncIterator[FileList]:
    async with driver_connection(engine) as connection:
        with database_errors():
            await connection.execute(MAKE)
        yield FileList(connection)
