"""Files in a folder of this machine. A file is written beside its place, flushed to disk and renamed into it."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

from app.core.errors import Invalid, NotFound
from app.providers.ports import ListedFile, StoredFile
from app.providers.storage.incoming import IncomingFile, check_room, in_thread, prepare

INCOMING = "incoming"
BLOCK_BYTES = 1 << 18
LISTED_AT_ONCE = 1000


class LocalStorage:
    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._incoming = self._root / INCOMING

    async def open(self) -> None:
        await in_thread(prepare, self._incoming)

    async def close(self) -> None:
        """Nothing is held open."""

    @contextlib.asynccontextmanager
    async def receive(self) -> AsyncIterator["LocalIncoming"]:
        await self.check()
        incoming = await in_thread(LocalIncoming, self._root, self._incoming)
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
        await in_thread(_place(self._root, key).unlink, True)

    async def check(self) -> None:
        await in_thread(check_room, self._incoming)

    async def list_files(self, prefix: str = "") -> AsyncIterator[ListedFile]:
        files = self._walk(prefix)
        while some := await in_thread(tuple[ListedFile, ...], itertools.islice(files, LISTED_AT_ONCE)):
            for file in some:
                yield file

    def _walk(self, prefix: str) -> Iterator[ListedFile]:
        for folder, folders, names in os.walk(self._root):
            if Path(folder) == self._root and INCOMING in folders:
                folders.remove(INCOMING)
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self._root).as_posix()
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    if key.startswith(prefix):
                        found = path.stat()
                        yield ListedFile(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    async def link(self, key: str, *, filename: str, media_type: str, seconds: int) -> str | None:  # noqa: ARG002
        return None

    def _existing(self, key: str) -> Path:
        path = _place(self._root, key)
        if not path.is_file():
            raise NotFound("file_missing", "The original file is not in the storage.")
        return path


class LocalIncoming(IncomingFile):
    def __init__(self, root: Path, folder: Path) -> None:
        super().__init__(folder)
        self._root = root

    async def commit(self, key: str) -> StoredFile:
        await in_thread(self._commit, key)
        return StoredFile(key=key, size=self.size, sha256=self.digest())

    def _commit(self, key: str) -> None:
        target = _place(self._root, key)
        written = self.flush()
        target.parent.mkdir(parents=True, exist_ok=True)
        os.fsync(self._file.fileno())
        os.replace(written, target)  # before the lock goes, or it would look left behind
        self._path = None
        self._file.close()
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the name, too, must survive a power cut
        finally:
            os.close(descriptor)


def _place(root: Path, key: str) -> Path:
    """Keys are ours; a key that leads out of the folder is a mistake of ours, caught here all the same."""
    path = (root / key).resolve()
    if not path.is_relative_to(root) or path == root:
        raise Invalid("invalid_key", "The storage key is not valid.")
    return path
