"""Indexes that are built or dropped while the table is in use: on a connection of their own, outside transactions."""

from sqlalchemy.ext.asyncio import AsyncEngine

from app.db.engine import database_errors, driver_connection
from app.repositories.hnsw import create_index, drop_index, index_name

BUILD_MEMORY = "512MB"
"""maintenance_work_mem: a graph that does not fit is built many times slower (pgvector, "Index Build Time")."""

INVALID = """
SELECT count(*) FROM pg_class k JOIN pg_index i ON i.indexrelid = k.oid WHERE k.relname = $1 AND NOT i.indisvalid
"""


async def build_hnsw(engine: AsyncEngine, space_id: int, width: int) -> None:
    """Of no effect when there is a valid one. What a build that was broken off has left is dropped first."""
    async with driver_connection(engine) as connection:
        with database_errors():
            if await connection.fetchval(INVALID, index_name(space_id)):
                await connection.execute(drop_index(space_id), timeout=None)
            await connection.execute(f"SET maintenance_work_mem = '{BUILD_MEMORY}'")
            await connection.execute(create_index(space_id, width, concurrently=True), timeout=None)


async def drop_hnsw(engine: AsyncEngine, space_id: int) -> None:
    async with driver_connection(engine) as connection:
        with database_errors():
            await connection.execute(drop_index(space_id), timeout=None)
