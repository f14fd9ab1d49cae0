"""Files in a folder of this machine. A file is written beside its place, flushed to disk and renamed into it."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from app.core.errors import Invalid, NotFound, StorageFull, Unavailable
from app.providers.ports import StoredFile

T = TypeVar("T")
HEAD_BYTES = 4096
BLOCK_BYTES = 1 << 18
FREE_FLOOR_BYTES = 64 << 20
"""Below this much free space nothing new is accepted: the database needs the rest to stay up."""
FULL = {28, 122}
"""errno ENOSPC and EDQUOT."""


class LocalStorage:
    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._incoming = self._root / "incoming"

    async def open(self) -> None:
        """Makes the folders and sweeps what an earlier process left half written."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        self._incoming.mkdir(parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            if not _written_by_living_process(leftover.name):
                leftover.unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def receive(self) -> AsyncIterator["LocalIncoming"]:
        await self.check()
        incoming = await _in_thread(LocalIncoming, self._root, self._incoming)
        try:
            yield incoming
        finally:
            await asyncio.to_thread(incoming.discard)

    @contextlib.asynccontextmanager
    async def local_copy(self, key: str) -> AsyncIterator[Path]:
        yield await asyncio.to_thread(self._existing, key)

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        path = await asyncio.to_thread(self._existing, key)
        left = (end if end is not None else path.stat().st_size) - start
        with await asyncio.to_thread(path.open, "rb") as file:
            await asyncio.to_thread(file.seek, start)
            while left > 0:
                block = await asyncio.to_thread(file.read, min(BLOCK_BYTES, left))
                if not block:
                    break
                left -= len(block)
                yield block

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(_place(self._root, key).unlink, missing_ok=True)

    async def check(self) -> None:
        await _in_thread(self._check)

    def _check(self) -> None:
        try:
            free = shutil.disk_usage(self._incoming).free
        except OSError as exc:
            raise Unavailable("storage_unavailable", "The file storage cannot be reached.") from exc
        if free < FREE_FLOOR_BYTES:
            raise StorageFull
        if not os.access(self._incoming, os.W_OK):
            raise Unavailable("storage_unavailable", "The file storage cannot be written.")

    def _existing(self, key: str) -> Path:
        path = _place(self._root, key)
        if not path.is_file():
            raise NotFound("file_missing", "The original file is not in the storage.")
        return path


class LocalIncoming:
    def __init__(self, root: Path, folder: Path) -> None:
        self.size = 0
        self.head = b""
        self._root = root
        self._hash = hashlib.sha256()
        descriptor, name = tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=folder)
        self._file = os.fdopen(descriptor, "wb")
        self._path: Path | None = Path(name)

    async def write(self, data: bytes) -> None:
        await _in_thread(self._write, data)

    def _write(self, data: bytes) -> None:
        self.size += len(data)
        self._hash.update(data)
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        self._file.write(data)

    def digest(self) -> str:
        return self._hash.hexdigest()

    async def commit(self, key: str) -> StoredFile:
        await _in_thread(self._commit, key)
        return StoredFile(key=key, size=self.size, sha256=self.digest())

    def _commit(self, key: str) -> None:
        if self._path is None:
            raise RuntimeError("the file was committed or discarded before")
        target = _place(self._root, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._path, target)
        self._path = None
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the name, too, must survive a power cut
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # what could not be flushed is not wanted any more
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def _place(root: Path, key: str) -> Path:
    """Keys are ours; a key that leads out of the folder is a mistake of ours, caught here all the same."""
    path = (root / key).resolve()
    if not path.is_relative_to(root) or path == root:
        raise Invalid("invalid_key", "The storage key is not valid.")
    return path


def _written_by_living_process(name: str) -> bool:
    pid = name.partition("-")[0]
    if not pid.isdigit():
        return False
    if int(pid) == os.getpid():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in FULL:
            raise StorageFull from exc
        raise Unavailable("storage_unavailable", "The file storage cannot be written.") from exc


async def _in_thread(call: Callable[..., T], *args: Any) -> T:
    with _full_disk():
        return await asyncio.to_thread(call, *args)
