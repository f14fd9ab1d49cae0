"""Structured logs: an event name and fields, one line each; JSON, or pretty on a terminal.

What a person wrote, a document holds or a key says is never a field: log_fields.py lists what may be one.
"""

import logging
import sys
import threading
import traceback
from pathlib import Path
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

from app.core.log_fields import allow_listed

NOT_ERRORS = ("without completing handshake", "Invalid UTF-8 sequence")
"""uvicorn says this as an error of every WebSocket that was refused with a proper answer, which the access log has, and
of text that is not UTF-8, for which the client was told 1007."""
SAID = frozenset(
    {
        "ASGI callable returned without completing handshake.",
        "ASGI callable returned without completing response.",
        "Cancel %s running task(s), timeout graceful shutdown exceeded",
        "Exception in ASGI application\n",
        "Invalid HTTP request received.",
        "Unsupported upgrade request.",
    }
)
"""Sentences of the server that hold nothing of anybody's. Of others only the place in their source is told."""
MOST_FRAMES = 8
MOST_CAUSES = 4


def configure_logging(level: str, style: Literal["auto", "json", "pretty"]) -> None:
    pretty = style == "pretty" or (style == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        allow_listed,
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
    foreign = [reduce_to_place, *shared]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=foreign, processors=[*tail, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.raiseExceptions = False  # else a record that cannot be formatted is printed with all that it holds
    _quieten()


def catch_strays() -> None:
    """What Python would print with its message: faults in threads and finalisers, warnings of libraries."""
    log = get_logger(__name__)
    logging.captureWarnings(True)
    threading.excepthook = lambda fault: log.error("thread.fault", exc_info=fault.exc_value)
    sys.unraisablehook = lambda fault: log.error("finaliser.fault", exc_info=fault.exc_value)


def _quieten() -> None:
    """Libraries that log bodies, statements or every request; uvicorn's own lines go through our handler."""
    root = logging.getLogger()
    root.handlers[0].addFilter(lambda record: record.levelno >= logging.WARNING or _is_ours(record))
    for name in ("sqlalchemy", "asyncio", "httpx", "httpcore", "pypdf", "alembic", "websockets", "botocore", "redis"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they need not make what is not shown
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings hold bytes of the body
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = name != "uvicorn.access"
    server = logging.getLogger("uvicorn.error")
    server.setLevel(logging.WARNING)
    server.filters[:] = [lambda record: not any(phrase in record.getMessage() for phrase in NOT_ERRORS)]


def _is_ours(record: logging.LogRecord) -> bool:
    return isinstance(record.msg, dict)  # as structlog hands it over


def reduce_to_place(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Of a library's record: who, how bad and where. Its message may hold a body, a statement or a key."""
    record: logging.LogRecord = event["_record"]
    if record.msg in SAID:
        event["said"] = str(record.msg).strip()
    event["event"] = "library"
    event["at"] = f"{record.filename}:{record.lineno} {record.funcName}"
    return event


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
