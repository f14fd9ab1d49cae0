"""What a process that reads one document does: file on stdin, lines on stdout.

Each line is JSON in UTF-8:
    {"page": 3}                          a page begins; null where the format has no pages
    {"text": "..."}                      its next piece, at most PIECE_CHARS characters
    {"end": {"title", "warnings"}}       all was read
    {"error": "encrypted"}               it cannot be read, a code of app/readers/errors.py
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from app.readers import reader_for
from app.readers.document import Document
from app.readers.errors import UnreadableDocument
from app.readers.limits import Limits

PIECE_CHARS = 65536
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_GRACE_SECONDS = 5


def read(order: dict[str, Any], parent: int) -> None:
    """Returns whenever a verdict was written. The order: {"kind", "limits": {...}}."""
    limits = Limits(**order["limits"])
    _end_with_parent(parent, limits)
    out = _own_stdout()
    try:
        reader = reader_for(order["kind"])
        _restrict(limits)
        _write(out, _lines(reader(sys.stdin.buffer.read(), limits)), limits)
    except UnreadableDocument as exc:
        _write(out, [{"error": exc.code}], limits)
    except MemoryError:
        os._exit(1)  # writing a verdict could need more of what has run out


def _lines(document: Document) -> Iterator[dict[str, Any]]:
    for page in document.pages:
        yield {"page": page.number}
        for start in range(0, len(page.text), PIECE_CHARS):
            yield {"text": page.text[start : start + PIECE_CHARS]}
    yield {"end": {"title": document.title, "warnings": document.warnings}}


def _write(out: BinaryIO, lines: Iterable[dict[str, Any]], limits: Limits) -> None:
    for line in lines:
        out.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        _set_alarm(limits)  # the parent takes its time with what it got; only silence counts
    out.flush()


def _set_alarm(limits: Limits) -> None:
    signal.alarm(int(limits.wall_seconds) + _GRACE_SECONDS)


def _own_stdout() -> BinaryIO:
    """What a native library prints must not get between our lines."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(own, "wb")


def _end_with_parent(parent: int, limits: Limits) -> None:
    """A parent that is killed cannot clean up; the alarm is for systems without a parent-death signal."""
    _set_alarm(limits)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _restrict(limits: Limits) -> None:
    """After the imports, so that those may still write their caches."""
    import resource  # not on Windows

    wanted = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
    }
    for name, value in wanted.items():
        hard = resource.getrlimit(name)[1]
        ceiling = value + 1 if name == resource.RLIMIT_CPU else value  # SIGXCPU first: it tells time from a crash
        if hard != resource.RLIM_INFINITY:
            value, ceiling = min(value, hard), min(ceiling, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS knows some limits only by name
            resource.setrlimit(name, (value, ceiling))
