"""Connections that the server has closed are not handed out."""

import asyncio

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest
from sqlalchemy import URL, text

from app.db.engine import create_engine


async def test_a_connection_closed_by_the_server_is_replaced(database_url: str) -> None:
    engine, other = create_engine(database_url, pool_size=2), create_engine(database_url, pool_size=2)
    try:
        async with engine.connect() as connection:
            before = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        async with other.connect() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": before})
        await asyncio.sleep(0.1)  # the driver hears of it
        async with engine.connect() as connection:
            after = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        assert after != before
    finally:
        await engine.dispose()
        await other.dispose()


async def test_taking_a_connection_costs_no_statement(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=2)
    asked: list[str] = []
    try:
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            assert driver is not None
            driver.add_query_logger(lambda record: asked.append(record.query))
        async with engine.begin() as connection:
            await connection.execute(text("SELECT 1"))
        assert asked == ["BEGIN;", "COMMIT;"]  # prepared statements are not told
    finally:
        await engine.dispose()


async def test_the_embedded_server_keeps_many_pages(postgres: URL) -> None:
    """A quarter of the machine's memory, at most 1 GB."""
    connection = await asyncpg.connect(host=str(postgres.query["host"]), user="postgres", database="postgres")
    try:
        pages = await connection.fetchval("SELECT setting::int FROM pg_settings WHERE name = 'shared_buffers'")
    finally:
        await connection.close()
    quarter = psutil.virtual_memory().total // 4
    assert pages * 8192 == pytest.approx(min(quarter, 2**30), abs=2**20)
