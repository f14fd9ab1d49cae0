"""The transaction of a search. Straight on the driver: a session takes as long as a search of few passages."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.caller import Caller
from app.db.connection import CallerConnection, announcement
from app.db.engine import database_errors
from app.repositories.search import SearchRepository
from app.repositories.search_scope import KnownSizes

Searching = Callable[[Caller], AbstractAsyncContextManager[SearchRepository]]


def searching(engine: AsyncEngine) -> Searching:
    """As with a unit of work, the transaction tells the database who is asking."""
    known_sizes = KnownSizes()

    @contextlib.asynccontextmanager
    async def begin(caller: Caller) -> AsyncIterator[SearchRepository]:
        with database_errors():
            async with engine.connect() as connection:
                driver: CallerConnection = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment]
                driver.announcement = announcement(caller)
                try:
                    async with _transaction(driver):
                        yield SearchRepository(driver, caller, known_sizes)
                finally:
                    if driver.is_closed() or driver.is_in_transaction():  # nobody is to find it in the pool
                        await connection.invalidate()

    return begin


@contextlib.asynccontextmanager
async def _transaction(driver: CallerConnection) -> AsyncIterator[None]:
    try:
        async with driver.transaction():
            yield
    except asyncpg.InterfaceError as exc:
        if not driver.is_closed():
            raise
        raise asyncpg.ConnectionDoesNotExistError from exc
