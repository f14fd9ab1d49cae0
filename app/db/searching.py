"""The transaction of a search. Straight on the driver: a session takes as long as a search of few passages."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.caller import Caller
from app.core.recent import Recent
from app.db.connection import BEGIN, CallerConnection, announcement
from app.db.engine import database_errors
from app.repositories.search import SearchRepository
from app.repositories.search_scope import MOST_REMEMBERED, REMEMBERED_SECONDS, KnownSizes

Searching = Callable[[Caller], AbstractAsyncContextManager[SearchRepository]]


def searching(engine: AsyncEngine) -> Searching:
    """As with a unit of work, the transaction tells the database who is asking."""
    known_sizes: KnownSizes = Recent(REMEMBERED_SECONDS, MOST_REMEMBERED)

    @contextlib.asynccontextmanager
    async def begin(caller: Caller) -> AsyncIterator[SearchRepository]:
        with database_errors():
            async with engine.connect() as connection:
                driver: CallerConnection = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment]
                driver.announcement = announcement(caller)
                async with _transaction(connection, driver):
                    yield SearchRepository(driver, caller, known_sizes)

    return begin


@contextlib.asynccontextmanager
async def _transaction(connection: AsyncConnection, driver: CallerConnection) -> AsyncIterator[None]:
    """A connection goes back to the pool only if its transaction is known to have ended: the next caller would be
    within it, and taken for this one. So a transaction that is broken off takes its connection along, and nobody who
    goes away waits for a server that does not answer. The driver's own `transaction()` is no help: broken off while
    it begins, it is within a transaction for itself and outside for everybody else."""
    ended = False
    try:
        await driver.execute(BEGIN)
        yield
        await driver.execute("COMMIT;")
        ended = True
    except asyncpg.InterfaceError as exc:
        if not driver.is_closed():
            raise
        raise asyncpg.ConnectionDoesNotExistError from exc
    finally:
        if not ended:
            await connection.invalidate()
