"""What the commands share: settings with a readable refusal, and a runtime for one command."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from app.core.caller import DEFAULT_TENANT, Caller, tenant_caller
from app.core.errors import RagchatError
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.runtime import Runtime, open_runtime

T = TypeVar("T")
COULD_NOT_RUN = 2


def load_settings(**overrides: Any) -> Settings:
    """One clear line and exit code 2 when the service must not start like this."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except RagchatError as exc:
        stop(f"ragchat does not start: {exc.detail}")
    except ValidationError as exc:
        problems = "; ".join(f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in exc.errors())
        stop(f"ragchat does not start: {problems}")


def stop(message: str, code: int = COULD_NOT_RUN) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Runs a command's coroutine; errors with a code become one line."""
    try:
        return asyncio.run(_as_coroutine(work))
    except RagchatError as exc:
        stop(f"{exc.code}: {exc.detail}")
    except KeyboardInterrupt:
        stop("stopped", code=130)


async def _as_coroutine(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


@contextlib.asynccontextmanager
async def command_runtime(settings: Settings) -> AsyncIterator[tuple[Runtime, Caller]]:
    """The parts, acting for the whole tenant. Logs only what went wrong: the terminal belongs to the command."""
    configure_logging("ERROR", settings.log_format)
    async with open_runtime(settings) as runtime:
        yield runtime, tenant_caller(DEFAULT_TENANT)


def interactive() -> bool:
    return sys.stdout.isatty()
