"""The database alone, for commands that need neither the embedding model nor anything else."""

import contextlib
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncEngine

from app.cli.common import require_data_folder, stop
from app.cli.parts import DATABASE_WAIT_SECONDS
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.db import migrate
from app.db.embedded import is_made
from app.db.engine import wait_until_up
from app.db.row_security import require_wall
from app.runtime import open_database


@contextlib.asynccontextmanager
async def command_database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """At this program's revision. Unavailable otherwise; none is made where there is none."""
    configure_logging("ERROR", settings.log_format)
    require_data_folder(settings)
    if not settings.database_url.get_secret_value() and not is_made(settings.data_dir / "postgres"):
        stop(f"there is no database in {settings.data_dir} yet; the first start makes it")
    async with open_database(settings) as database:
        await wait_until_up(database.owner, DATABASE_WAIT_SECONDS)
        await migrate.wait_for_head(database.owner, seconds=0)
        await require_wall(database.app)
        yield database.app
