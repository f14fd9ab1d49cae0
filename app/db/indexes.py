"""Indexes that are built or dropped while the table is in use: on a connection of their own, outside transactions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.errors import Unavailable
from app.db.engine import database_errors, driver_connection
from app.repositories.hnsw import create_index, drop_index, index_name

BUILD_MEMORY = "512MB"
"""maintenance_work_mem: a graph that does not fit is built many times slower (pgvector, "Index Build Time")."""
TURN_SECONDS = 0.5

MY_TURN = "SELECT pg_try_advisory_lock(hashtext('ragchat_hnsw'))"
INVALID = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid"


class Indexes:
    """The HNSW indexes of embedding spaces. Only the tables' owner may build one: Unavailable(not_the_owner)."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def build(self, space_id: int, width: int) -> None:
        """Of no effect when there is a valid one. What a build that was broken off has left is dropped first."""
        async with self._taking_turns() as connection:
            if await connection.fetchval(INVALID, index_name(space_id)):
                await connection.execute(drop_index(space_id))
            await connection.execute(f"SET maintenance_work_mem = '{BUILD_MEMORY}'")
            await connection.execute(create_index(space_id, width, concurrently=True))

    async def drop(self, space_id: int) -> None:
        """Of no effect when there is none."""
        async with self._taking_turns() as connection:
            await connection.execute(drop_index(space_id))

    @contextlib.asynccontextmanager
    async def _taking_turns(self) -> AsyncIterator[asyncpg.Connection]:
        """One at a time in the whole database: two concurrent builds on one table wait for each other's snapshots.

        Who waits asks again and again, as a statement that waits has a snapshot, too. The server goes on building for
        a client that is gone, and keeps the lock until that has ended.
        """
        async with driver_connection(self._engine) as connection:
            with database_errors():
                while True:
                    if await connection.fetchval(MY_TURN):
                        break
                    await asyncio.sleep(TURN_SECONDS)
                try:
                    yield connection
                except asyncpg.InsufficientPrivilegeError as exc:
                    raise Unavailable(
                        "not_the_owner", "Indexes are built by the tables' owner; set MIGRATION_DATABASE_URL."
                    ) from exc
