"""The service's parts, opened for one command."""

import contextlib
from collections.abc import AsyncIterator

from app.cli.common import require_data_folder
from app.core.caller import DEFAULT_TENANT, Caller, tenant_caller
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.runtime import Runtime, open_runtime

DATABASE_WAIT_SECONDS = 3.0
"""Somebody is sitting in front of it; a service waits longer."""


@contextlib.asynccontextmanager
async def command_runtime(settings: Settings) -> AsyncIterator[tuple[Runtime, Caller]]:
    """The parts, acting for the whole tenant. Logs only what went wrong: the terminal belongs to the command."""
    configure_logging("ERROR", settings.log_format)
    require_data_folder(settings)
    async with open_runtime(settings, database_wait=DATABASE_WAIT_SECONDS) as runtime:
        yield runtime, tenant_caller(DEFAULT_TENANT)
