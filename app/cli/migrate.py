"""`ragchat migrate`."""

import typer

from app.cli.common import load_settings, require_data_folder, run
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.db import migrate as migrations
from app.db.engine import wait_until_up
from app.runtime import DATABASE_WAIT_SECONDS, open_database


def migrate() -> None:
    settings = load_settings()
    configure_logging("WARNING", settings.log_format)
    require_data_folder(settings)
    typer.echo(f"database is at revision {run(lambda: _migrate(settings))}")


async def _migrate(settings: Settings) -> str | None:
    async with open_database(settings) as database:
        await wait_until_up(database.owner, DATABASE_WAIT_SECONDS)
        await migrations.upgrade(database.owner)
        return await migrations.current_revision(database.owner)
