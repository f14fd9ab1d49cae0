"""The connection pool, and how its failures are told."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import asyncpg
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.core.errors import StorageFull, Unavailable

POOL_WAIT_SECONDS = 3.0
"""Waiting longer for a connection helps nobody: the client is told 503 and tries again."""
CONNECT_SECONDS = 5.0


def create_engine(url: URL | str, *, pool_size: int) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": 60,
            "server_settings": {"application_name": "ragchat", "timezone": "UTC", "jit": "off"},
        },
    )


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turns a database that is down, busy or full into errors with a code; others pass through."""
    try:
        yield
    except PoolTimeout as exc:
        raise Unavailable("database_busy", "The database is busy; try again.", retry_after=1) from exc
    except DBAPIError as exc:
        if getattr(exc.orig, "sqlstate", None) == "53100":
            raise StorageFull from exc
        if exc.connection_invalidated or isinstance(exc, OperationalError) or _is_disconnect(exc):
            raise _unreachable() from exc
        raise
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as exc:
        raise _unreachable() from exc


def _is_disconnect(exc: DBAPIError) -> bool:
    state = getattr(exc.orig, "sqlstate", None) or ""
    return state.startswith("08") or state in {"57P01", "57P02", "57P03"}


def _unreachable() -> Unavailable:
    return Unavailable("database_unavailable", "The database does not answer; try again shortly.", retry_after=2)


async def ping(engine: AsyncEngine) -> None:
    """Raises Unavailable when the database does not answer."""
    with database_errors():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))


@contextlib.asynccontextmanager
async def driver_connection(engine: AsyncEngine) -> AsyncIterator[asyncpg.Connection]:
    """A plain asyncpg connection outside the pool, for LISTEN and for building indexes."""
    url = engine.url
    with database_errors():
        connection = await asyncpg.connect(
            url.set(drivername="postgresql").render_as_string(hide_password=False), timeout=CONNECT_SECONDS
        )
    try:
        yield connection
    finally:
        await connection.close(timeout=2)
