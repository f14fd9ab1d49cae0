"""Files on their way, in a folder of this machine: hashed and counted while written, swept when left behind."""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from app.core.errors import StorageFull, Unavailable
from app.core.logging import get_logger

T = TypeVar("T")
HEAD_BYTES = 4096
FREE_FLOOR_BYTES = 64 << 20
"""Below this much free space nothing new is accepted: the database needs the rest to stay up."""
FULL = {errno.ENOSPC, errno.EDQUOT}
log = get_logger(__name__)


class IncomingFile:
    """A temporary file. Its lock ends with the process, however that ends, also one in another container."""

    def __init__(self, folder: Path) -> None:
        self.size = 0
        self.head = b""
        self._hash = hashlib.sha256()
        self._path: Path | None
        self._file, self._path = _locked_file(folder)

    async def write(self, data: bytes) -> None:
        await in_thread(self._write, data)

    def _write(self, data: bytes) -> None:
        self.size += len(data)
        self._hash.update(data)
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        self._file.write(data)

    def digest(self) -> str:
        return self._hash.hexdigest()

    def flush(self) -> Path:
        """Where every byte can be read now."""
        if self._path is None:
            raise RuntimeError("the file was committed or discarded before")
        self._file.flush()
        return self._path

    def discard(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        with contextlib.suppress(OSError):  # what could not be flushed is not wanted any more
            self._file.close()


def _locked_file(folder: Path) -> tuple[BinaryIO, Path]:
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder)
        with contextlib.suppress(OSError):  # a file system without locks: nothing there is ever swept
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return os.fdopen(descriptor, "wb"), Path(name)
        os.close(descriptor)  # swept before it was locked


def prepare(folder: Path) -> None:
    """Makes the folder, or sweeps what processes that have ended left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.iterdir():
        with contextlib.suppress(OSError):  # locked: somebody is writing it
            descriptor = os.open(leftover, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            finally:
                os.close(descriptor)


def check_room(folder: Path) -> None:
    """Unavailable or StorageFull when no file can be written here."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as exc:
        raise Unavailable("storage_unavailable", "The file storage cannot be reached.") from exc
    if free < FREE_FLOOR_BYTES:
        raise StorageFull
    if not os.access(folder, os.W_OK):
        raise Unavailable("storage_unavailable", "The file storage cannot be written.")


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in FULL:
            raise StorageFull from exc
        log.error("storage.failed", error=errno.errorcode.get(exc.errno or 0, type(exc).__name__))
        raise Unavailable("storage_unavailable", "The file storage cannot be written.") from exc


async def in_thread(call: Callable[..., T], *args: Any) -> T:
    """Errors of the disk come out as StorageFull or Unavailable."""
    with _full_disk():
        return await asyncio.to_thread(call, *args)
