"""Structured logs: an event name and fields, one line each; JSON, or pretty on a terminal.

What a person wrote, a document holds or a key says is never a field.
"""

import logging
import sys
import traceback
from pathlib import Path
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

NOT_ERRORS = ("without completing handshake", "Invalid UTF-8 sequence")
"""uvicorn says this as an error of every WebSocket that was refused with a proper answer, which the access log has, and
of text that is not UTF-8, for which the client was told 1007."""
MOST_FRAMES = 8
MOST_CAUSES = 4


def configure_logging(level: str, style: Literal["auto", "json", "pretty"]) -> None:
    pretty = style == "pretty" or (style == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        describe_exception,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    tail: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*tail, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    _quieten()


def _quieten() -> None:
    """Libraries that log bodies, statements or every request; uvicorn's own lines go through our handler."""
    for name in (
        *("sqlalchemy", "asyncio", "httpx", "httpcore", "pypdf", "alembic", "websockets"),
        *("boto3", "botocore", "aioboto3", "aiobotocore"),
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings hold bytes of the body
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = name != "uvicorn.access"
    server = logging.getLogger("uvicorn.error")
    server.setLevel(logging.WARNING)
    server.filters[:] = [lambda record: not any(phrase in record.getMessage() for phrase in NOT_ERRORS)]


def describe_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Types and places, cause behind cause. Messages of exceptions are left out: drivers put values into them."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    parts: list[str] = []
    while isinstance(error, BaseException) and len(parts) < MOST_CAUSES:
        frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
        places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
        parts.append(f"{type(error).__module__}.{type(error).__qualname__} in {places}")
        error = error.__cause__ or error.__context__
    if parts:
        event["error"] = parts
    return event


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
