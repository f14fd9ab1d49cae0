"""What the commands share: settings with a readable refusal, and the way a command runs and ends."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.core.audit import COMMAND_LINE, Origin, origin
from app.core.errors import RagchatError
from app.core.settings import Settings

T = TypeVar("T")
COULD_NOT_RUN = 2
INTERRUPTED = 130
TERMINATED = 143
NO_START = "ragchat does not start: "
MUST = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "decimal_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be {ge} at least",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} at most",
    "less_than": "must be less than {lt}",
    "finite_number": "must be a finite number",
}
"""By the kind of fault."""


def load_settings(**overrides: Any) -> Settings:
    """One clear line and exit code 2 when the service must not start like this."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except RagchatError as exc:
        stop(NO_START + exc.detail)
    except ValidationError as exc:
        stop(NO_START + "; ".join(f"{str(error['loc'][0]).upper()} {_must(error)}" for error in exc.errors()) + ".")


def _must(error: ErrorDetails) -> str:
    """What a setting must be, without what it is."""
    for ending, sentence in MUST.items():
        if error["type"].endswith(ending):
            return sentence.format(**error.get("ctx", {}))
    return "is not valid"


def stop(message: str, code: int = COULD_NOT_RUN) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def require_data_folder(settings: Settings) -> None:
    """Before anything is loaded: a folder that cannot be used is the commonest mistake of a first start."""
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as exc:
        stop(f"{NO_START}DATA_DIR {folder} cannot be made: {exc.strerror}.")
    if not usable:
        stop(f"{NO_START}DATA_DIR {folder} cannot be written.")


def writable_parent(folder: Path) -> bool:
    """Whether the folder, or what it would be made in, can be written."""
    existing = next(place for place in (folder, *folder.resolve().parents) if place.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def run(work: Callable[[], Awaitable[T]], *, refusal: str = "") -> T:
    """Runs a command's coroutine. Errors with a code become one line; SIGTERM and SIGHUP are as gentle as Ctrl-C."""
    origin.set(Origin(actor=COMMAND_LINE))
    try:
        return asyncio.run(_cancelled_by_signals(work))
    except RagchatError as exc:
        stop(refusal + exc.detail if refusal else f"{exc.code}: {exc.detail}")
    except KeyboardInterrupt:
        stop("stopped", code=INTERRUPTED)
    except asyncio.CancelledError:
        stop("stopped", code=TERMINATED)


async def _cancelled_by_signals(work: Callable[[], Awaitable[T]]) -> T:
    """The first signal only: a second one would break off the tidying up."""
    task = asyncio.ensure_future(_as_coroutine(work))
    for name in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, lambda: task.cancelling() or task.cancel())
    return await task


async def _as_coroutine(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
