"""The connection pool, and how its failures are told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.core.errors import NotFound, RagchatError, StorageFull, Unavailable
from app.core.logging import get_logger
from app.db.connection import APPLICATION, CallerConnection
from app.repositories import halfvec

POOL_WAIT_SECONDS = 3.0
"""Waiting longer for a connection helps nobody: the client is told 503 and tries again."""
OWNER_POOL_SIZE = 2
CONNECT_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 2.0
KNOWS_VECTORS = "knows_vectors"
SERVER_SETTINGS = {
    "application_name": "ragchat",
    "timezone": "UTC",
    "jit": "off",
    "random_page_cost": "1.1",  # no disk turns any more: else the planner reads whole indexes to save a few pages
    # A process that is frozen within a transaction, or a host that is gone, must not keep its locks: others wait for
    # the rows. Shorter than the lease of a job; nothing of ours is awaited inside a transaction.
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
VECTOR_SCHEMA = "SELECT typnamespace::regnamespace::text FROM pg_type WHERE oid = to_regtype('halfvec')"
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Database:
    """`app` sees what row-level security lets a caller see. `owner` has the tables: for migrations and indexes."""

    app: AsyncEngine
    owner: AsyncEngine


def open_engines(url: URL | str, owner_url: URL | str, *, pool_size: int) -> Database:
    """The application takes its own role whoever logs in, so that one login is enough for both."""
    app = create_engine(url, pool_size=pool_size, role=APPLICATION)
    return Database(app, create_engine(owner_url or url, pool_size=OWNER_POOL_SIZE))


def create_engine(url: URL | str, *, pool_size: int, role: str | None = None) -> AsyncEngine:
    """Unavailable(database_url_invalid) for an address that is not PostgreSQL's."""
    engine = create_async_engine(
        _address(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": 60,
            "server_settings": SERVER_SETTINGS | ({"role": role} if role else {}),
            "connection_class": CallerConnection,
        },
    )
    event.listen(engine.sync_engine, "connect", _register_types)
    event.listen(engine.sync_engine.pool, "checkout", _require_open)
    event.listen(engine.sync_engine.pool, "checkin", _come_back)
    return engine


def _register_types(dbapi_connection: Any, record: Any) -> None:
    record.info[KNOWS_VECTORS] = dbapi_connection.run_async(register_halfvec)


async def register_halfvec(connection: asyncpg.Connection) -> bool:
    """Its parameters are what `halfvec.encoded` gives, its values in rows are arrays. False before the database has
    pgvector."""
    schema = await connection.fetchval(VECTOR_SCHEMA)
    if schema is not None:
        await connection.set_type_codec(
            "halfvec", schema=schema, encoder=bytes, decoder=halfvec.decoded, format="binary"
        )
    return schema is not None


def _require_open(dbapi_connection: Any, _record: object, _proxy: object) -> None:
    """Another connection is taken instead of one that has been closed. The driver hears of that from the socket; a
    statement as a question (`pool_pre_ping`) would be four messages to and fro, for each unit of work."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError


def _come_back(dbapi_connection: Any, record: Any) -> None:
    """Nobody's any more. One that was made before the migrations is replaced when it is wanted again."""
    if dbapi_connection is not None:
        dbapi_connection.driver_connection.announcement = ""
        if not record.info[KNOWS_VECTORS]:
            record.invalidate(soft=True)


def _address(url: URL | str) -> URL:
    """As asyncpg wants it. Hosting providers append options of libpq, which it does not know or calls otherwise."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        address = None
    if address is None or address.get_backend_name() != "postgresql":
        raise Unavailable(
            "database_url_invalid", "DATABASE_URL must look like postgresql://user:password@host:5432/name."
        ) from None  # the exception holds the password
    ssl = {"ssl": address.query["sslmode"]} if "sslmode" in address.query else {}
    address = address.difference_update_query(["sslmode", "channel_binding"])
    return address.set(drivername="postgresql+asyncpg").update_query_dict(ssl)


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turns a database that is down, busy or full into errors with a code; others pass through."""
    try:
        yield
    except PoolTimeout as exc:
        raise Unavailable("database_busy", "The database is busy; try again.", retry_after=1) from exc
    except DBAPIError as exc:
        known = _by_state(exc.orig)
        if known is None and (exc.connection_invalidated or isinstance(exc, OperationalError)):
            known = _unreachable()
        if known is None:
            raise
        raise known from exc
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as exc:
        raise Unavailable(
            "database_refused", "The database refuses the user, the password or the database name of DATABASE_URL."
        ) from exc
    except asyncpg.TooManyConnectionsError as exc:
        raise Unavailable("database_busy", "The database is busy; try again.", retry_after=1) from exc
    except asyncpg.PostgresError as exc:  # of rows that come straight from the driver
        known = _by_state(exc)
        if known is None:
            raise
        raise known from exc
    except OSError as exc:
        raise _unreachable() from exc


def _by_state(exc: BaseException | None) -> RagchatError | None:
    """What the server's SQLSTATE means to a caller; None for what is a mistake of ours."""
    state = getattr(exc, "sqlstate", None) or ""
    if state == "53100":
        return StorageFull()
    if state == "23503":  # a foreign key: the session or document went while this was being added to it
        return NotFound("gone", "What this belongs to has been deleted.")
    if state.startswith("08") or state in {"25P03", "57P01", "57P02", "57P03"}:
        return _unreachable()
    return None


def _unreachable() -> Unavailable:
    return Unavailable("database_unavailable", "The database does not answer; try again shortly.", retry_after=2)


async def ping(engine: AsyncEngine) -> None:
    """Raises Unavailable when the database does not answer."""
    with database_errors():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))


async def wait_until_up(engine: AsyncEngine, seconds: float) -> None:
    """Services start in any order: a database that is not there yet gets time. Unavailable when it stays away."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + seconds, 0.1
    while True:
        try:
            return await ping(engine)
        except Unavailable as exc:
            if exc.code != "database_unavailable":
                raise
            if loop.time() >= deadline:
                detail = f"The database of DATABASE_URL did not answer within {seconds:.0f} seconds."
                raise Unavailable(exc.code, detail) from exc
        log.warning("database.awaited", seconds_left=round(deadline - loop.time()))
        await asyncio.sleep(min(pause, max(0.0, deadline - loop.time())))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def pgvector_version(engine: AsyncEngine) -> str | None:
    """None when the server has no pgvector to install."""
    with database_errors():
        async with engine.connect() as connection:
            found = await connection.execute(
                text("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
            )
            version: str | None = found.scalar_one_or_none()
            return version


@contextlib.asynccontextmanager
async def driver_connection(engine: AsyncEngine) -> AsyncIterator[asyncpg.Connection]:
    """A plain asyncpg connection outside the pool, for LISTEN and for building indexes."""
    url = engine.url.set(drivername="postgresql")
    if "ssl" in url.query:
        url = url.difference_update_query(["ssl"]).update_query_dict({"sslmode": url.query["ssl"]})
    with database_errors():
        connection = await asyncpg.connect(url.render_as_string(hide_password=False), timeout=CONNECT_SECONDS)
    try:
        yield connection
    finally:
        await connection.close(timeout=2)
