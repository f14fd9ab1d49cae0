"""The transaction of a search. Straight on the driver: a session takes as long as a search of few passages."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.caller import Caller
from app.core.recent import Recent
from app.db.connection import BEGIN, announcement
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
                driver: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment]
                async with _transaction(connection, driver, announcement(caller)) as transaction:
                    yield SearchRepository(transaction, caller, known_sizes)

    return begin


class _Transaction:
    """It begins with the first statement, and in the same message if that has no parameters."""

    def __init__(self, driver: asyncpg.Connection, announced: str) -> None:
        self._driver = driver
        self._announced = announced
        self._begun = False

    async def execute(self, query: str) -> None:
        if not self._begun:
            self._begun = True
            query = f"{BEGIN}{self._announced}{query}"
        await self._driver.execute(query)

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        if not self._begun:
            await self.execute("")
        found: list[Any] = await self._driver.fetch(query, *args)
        return found

    async def commit(self) -> None:
        if self._begun:
            await self._driver.execute("COMMIT;")


@contextlib.asynccontextmanager
async def _transaction(
    connection: AsyncConnection, driver: asyncpg.Connection, announced: str
) -> AsyncIterator[_Transaction]:
    """A connection goes back to the pool only if its transaction is known to have ended: the next caller would be
    within it, and taken for this one. So a transaction that is broken off takes its connection along, and nobody who
    goes away waits for a server that does not answer. The driver's own `transaction()` is no help: broken off while
    it begins, it is within a transaction for itself and outside for everybody else."""
    transaction = _Transaction(driver, announced)
    ended = False
    try:
        yield transaction
        await transaction.commit()
        ended = True
    except asyncpg.InterfaceError as exc:
        if not driver.is_closed():
            raise
        raise asyncpg.ConnectionDoesNotExistError from exc
    finally:
        if not ended:
            await connection.invalidate()
