"""Connections that the server has closed are not handed out."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest
from sqlalchemy import URL, event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.caller import DEFAULT_TENANT, Caller, tenant_caller
from app.core.errors import RagchatError, Unavailable
from app.core.ids import new_id
from app.db.engine import create_engine, database_errors, driver_connection
from app.db.searching import searching
from app.db.uow import uow_factory
from app.repositories import halfvec
from tests.conftest import Tenant, make_database

CALLER = tenant_caller(DEFAULT_TENANT)


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


async def test_a_connection_that_is_older_than_the_tables_learns_of_vectors(postgres: URL) -> None:
    engine = create_engine(await make_database(postgres, "test_pool_vectors"), pool_size=1)
    vector = {"vector": halfvec.encoded([0.5, -2, 1 / 3])}
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            async with driver_connection(engine) as other:
                await other.execute("CREATE EXTENSION vector SCHEMA public")
        for _ in range(2):
            async with engine.connect() as connection:
                found = (await connection.execute(text("SELECT CAST(:vector AS halfvec) AS v"), vector)).scalar_one()
                assert found.tolist() == [0.5, -2, pytest.approx(1 / 3, abs=1e-3)]
    finally:
        await engine.dispose()


async def test_taking_a_connection_costs_no_statement(postgres: URL) -> None:
    engine = create_engine(await make_database(postgres, "test_pool_statements"), pool_size=2)
    async with driver_connection(engine) as other:
        await other.execute("CREATE EXTENSION vector")
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


@pytest.mark.parametrize("begun_by", ["a question", "a setting"])
async def test_a_search_is_one_transaction_of_its_caller(tenant: Tenant, begun_by: str) -> None:
    """And a setting is for this transaction alone."""
    asks = text("SELECT current_setting('app.tenant_id') AS tenant, pg_current_xact_id()::text AS number")
    shows = text("SHOW seq_page_cost")
    async with searching(tenant.runtime.engine)(tenant.caller) as passages:
        if begun_by == "a setting":
            await passages._driver.execute("SET LOCAL seq_page_cost = 1.5;")
        first, then = await passages._fetch(asks, {}), await passages._fetch(asks, {})
        [meanwhile] = await passages._fetch(shows, {})
    assert first == then
    assert first[0]["tenant"] == str(tenant.caller.tenant_id)
    assert (meanwhile["seq_page_cost"] == "1.5") == (begun_by == "a setting")
    async with searching(tenant.runtime.engine)(tenant.caller) as passages:
        assert await passages._fetch(shows, {}) == [{"seq_page_cost": "1"}]


@pytest.fixture
async def one_connection(postgres: URL) -> AsyncIterator[AsyncEngine]:
    """To a database that has pgvector: a connection from before would be replaced."""
    url = await make_database(postgres, "test_pool_one")
    engine = create_engine(url, pool_size=1)
    async with driver_connection(engine) as other:
        await other.execute("CREATE EXTENSION vector")
    yield engine
    await engine.dispose()


@pytest.mark.parametrize("when", ["begin", "search", "commit", "error"])
async def test_a_search_that_is_broken_off_leaves_nothing_behind(one_connection: AsyncEngine, when: str) -> None:
    """By an error, or while a frozen server is awaited: at once, and the next caller is not taken for this one."""
    engine = one_connection
    begin, other = searching(engine), tenant_caller(new_id())
    asks = text("SELECT current_setting('app.tenant_id') AS tenant, pg_backend_pid() AS pid")

    async def search() -> None:
        async with begin(CALLER) as passages:
            if when == "error":
                raise ZeroDivisionError
            if when != "begin":
                await passages._fetch(asks, {})
                os.kill(pid, signal.SIGSTOP)
            if when != "commit":
                await passages._fetch(asks, {})

    try:
        async with begin(CALLER) as passages:
            [first] = await passages._fetch(asks, {})
        pid = first["pid"]
        if when == "begin":
            os.kill(pid, signal.SIGSTOP)
        searched = asyncio.create_task(search())
        _, waiting = await asyncio.wait([searched], timeout=20 if when == "error" else 0.3)
        assert bool(waiting) == (when != "error")
        began = time.monotonic()
        searched.cancel()
        await asyncio.wait([searched], timeout=20)
        assert time.monotonic() - began < 15  # the statement's own patience is 60 s
        assert searched.cancelled() == (when != "error")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        for _ in range(2):
            async with uow_factory(engine)(other) as uow:
                assert (await uow.chunks._session.execute(asks)).one().tenant == str(other.tenant_id)
            async with begin(other) as passages:
                [then] = await passages._fetch(asks, {})
            assert then["tenant"] == str(other.tenant_id)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    with contextlib.suppress(asyncio.CancelledError, ZeroDivisionError):
        await searched


async def test_whenever_a_search_is_broken_off_the_next_caller_is_itself(one_connection: AsyncEngine) -> None:
    engine = one_connection
    begin, others = searching(engine), [tenant_caller(new_id()) for _ in range(2)]
    asks = text("SELECT current_setting('app.tenant_id') AS tenant")

    async def ask(caller: Caller) -> str:
        async with begin(caller) as passages:
            [found] = await passages._fetch(asks, {})
        return str(found["tenant"])

    await ask(CALLER)
    for steps in range(40):
        searched = asyncio.create_task(ask(CALLER))
        for _ in range(steps):
            await asyncio.sleep(0)
        searched.cancel()
        await asyncio.wait([searched])
        async with uow_factory(engine)(others[0]) as uow:
            assert await uow.chunks._session.scalar(asks) == str(others[0].tenant_id), steps
        assert await ask(others[1]) == str(others[1].tenant_id), steps


async def test_the_embedded_server_keeps_many_pages(postgres: URL) -> None:
    """A quarter of the machine's memory, at most 1 GB."""
    connection = await asyncpg.connect(host=str(postgres.query["host"]), user="postgres", database="postgres")
    try:
        pages = await connection.fetchval("SELECT setting::int FROM pg_settings WHERE name = 'shared_buffers'")
    finally:
        await connection.close()
    quarter = psutil.virtual_memory().total // 4
    assert pages * 8192 == pytest.approx(min(quarter, 2**30), abs=2**20)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_server_that_ends_a_connection_in_a_search_is_unavailable(database_url: str, when: str) -> None:
    """Rows that come straight from the driver bring its own errors along."""
    engine, other = create_engine(database_url, pool_size=1), create_engine(database_url, pool_size=1)
    begin = searching(engine)

    async def end(pid: int) -> None:
        async with other.connect() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    try:
        with pytest.raises(Unavailable, match="database_unavailable"):
            async with begin(CALLER) as passages:
                [own] = await passages._fetch(text("SELECT pg_backend_pid() AS pid"), {})
                ending = asyncio.create_task(end(own["pid"]))
                if when == "before":
                    await ending
                await passages._fetch(text("SELECT pg_sleep(5)"), {})
        await ending  # it has a connection of its own, which must be back before the pool is closed
        async with begin(CALLER) as passages:
            assert await passages._fetch(text("SELECT 1 AS one"), {}) == [{"one": 1}]
    finally:
        await engine.dispose()
        await other.dispose()


async def test_a_connection_that_is_gone_when_a_search_begins_is_unavailable(database_url: str) -> None:
    """And nobody has heard of it yet."""
    engine = create_engine(database_url, pool_size=1)

    def end(dbapi_connection: Any, _record: object, _proxy: object) -> None:
        os.kill(dbapi_connection.driver_connection.get_server_pid(), signal.SIGTERM)
        time.sleep(0.3)

    try:
        event.listen(engine.sync_engine.pool, "checkout", end)
        with pytest.raises(Unavailable, match="database_unavailable"):
            async with searching(engine)(CALLER) as passages:
                await passages._fetch(text("SELECT 1 AS one"), {})
        event.remove(engine.sync_engine.pool, "checkout", end)
        async with searching(engine)(CALLER) as passages:
            assert await passages._fetch(text("SELECT 1 AS one"), {}) == [{"one": 1}]
    finally:
        await engine.dispose()


def test_errors_of_the_driver_mean_what_those_of_sessions_do() -> None:
    for raised, code in ((asyncpg.DiskFullError, "storage_full"), (asyncpg.AdminShutdownError, "database_unavailable")):
        with pytest.raises(RagchatError) as told, database_errors():
            raise raised
        assert told.value.code == code
    with pytest.raises(asyncpg.UndefinedTableError), database_errors():
        raise asyncpg.UndefinedTableError
