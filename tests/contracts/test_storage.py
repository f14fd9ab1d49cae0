"""What every storage must do; on a folder, and on an S3 server (moto's) over a real socket."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.core.errors import Invalid, NotFound, StorageFull, Unavailable
from app.providers.ports import Storage
from app.providers.storage import incoming, open_storage
from app.providers.storage.incoming import IncomingFile
from app.providers.storage.local import LocalStorage
from app.providers.storage.s3 import PART_BYTES, S3Storage
from tests import s3_server as servers
from tests.conftest import ROOT
from tests.s3_server import new_bucket

s3_server, aws_environment = servers.s3_server, servers.aws_environment
LEAVE_A_FILE_BEHIND = """
import sys, time
from pathlib import Path
from app.providers.storage.incoming import IncomingFile
file = IncomingFile(Path(sys.argv[1]))
file._write(b"half")
file.flush()
print("written", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["local", "s3"])
async def storage(request: pytest.FixtureRequest, aws_environment: None, tmp_path: Path) -> AsyncIterator[Storage]:
    if request.param == "local":
        local = open_storage(tmp_path / "files")
        assert isinstance(local, LocalStorage)
        await local.open()
        yield local
        await local.close()
        return
    async with new_bucket(request.getfixturevalue("s3_server")) as bucket:
        kept = {"bucket": bucket.name, "prefix": "kept/", "endpoint_url": bucket.endpoint_url}
        s3 = open_storage(tmp_path / "files", **kept)
        assert isinstance(s3, S3Storage)
        await s3.open()
        yield s3
        await s3.close()


@pytest.fixture
def on_their_way(tmp_path: Path) -> Path:
    return tmp_path / "files" / "incoming"


async def put(storage: Storage, key: str, data: bytes) -> None:
    async with storage.receive() as file:
        await file.write(data)
        stored = await file.commit(key)
    assert (stored.key, stored.size, stored.sha256) == (key, len(data), hashlib.sha256(data).hexdigest())


async def read(storage: Storage, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([block async for block in storage.stream(key, start, end)])


async def keys(storage: Storage, prefix: str = "") -> set[str]:
    return {file.key async for file in storage.list_files(prefix)}


@pytest.mark.parametrize("size", [1, PART_BYTES, 2 * PART_BYTES + 12_345])
async def test_bytes_come_back_whole_and_in_part(storage: Storage, on_their_way: Path, size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    await put(storage, "t/one", data)
    assert await read(storage, "t/one") == data
    assert await read(storage, "t/one", 5, 300_007) == data[5:300_007]
    assert await read(storage, "t/one", size // 2) == data[size // 2 :]
    assert await read(storage, "t/one", size, size + 1) == b""
    assert await read(storage, "t/one", 0, 0) == b""
    async with storage.local_copy("t/one") as path:
        assert path.read_bytes() == data
    assert [*on_their_way.iterdir()] == []


async def test_what_is_not_committed_leaves_nothing(storage: Storage, on_their_way: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        async with storage.receive() as file:
            await file.write(b"half")
            raise RuntimeError("stop")
    assert await keys(storage) == set()
    assert [*on_their_way.iterdir()] == []


async def test_nothing_is_committed_twice(storage: Storage) -> None:
    async with storage.receive() as file:
        await file.write(b"x")
        await file.commit("t/one")
        with pytest.raises(RuntimeError):
            await file.commit("t/two")
    assert await keys(storage) == {"t/one"}


async def test_leftovers_of_a_dead_process_are_swept(storage: Storage, on_their_way: Path) -> None:
    command = [sys.executable, "-c", LEAVE_A_FILE_BEHIND, str(on_their_way)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None
    assert await child.stdout.readline() == b"written\n"
    await storage.open()
    (leftover,) = on_their_way.iterdir()  # while it lives, nobody takes it away
    child.kill()
    await child.wait()
    async with storage.receive() as file:
        await storage.open()
        assert not leftover.exists()
        await file.write(b"mine is still here")
        await file.commit("t/mine")
    assert await read(storage, "t/mine") == b"mine is still here"


async def test_delete_and_missing(storage: Storage, on_their_way: Path) -> None:
    await put(storage, "t/one", b"x")
    await put(storage, "t/one-more", b"y")
    await storage.delete("t/one")
    await storage.delete("t/one")
    for attempt in (read(storage, "t/one"), read(storage, "t/one", 3, 5), copied(storage, "t/one")):
        with pytest.raises(NotFound) as raised:
            await attempt
        assert raised.value.code == "file_missing"
    assert await read(storage, "t/one-more") == b"y"
    assert [*on_their_way.iterdir()] == []


async def copied(storage: Storage, key: str) -> bytes:
    async with storage.local_copy(key) as path:
        return path.read_bytes()


async def test_what_is_there_can_be_listed(storage: Storage) -> None:
    for key, size in (("a/1", 3), ("a/2", 5), ("b/1", 7)):
        await put(storage, key, b"x" * size)
    async with storage.receive() as file:
        await file.write(b"not there yet")
        files = {file.key: file async for file in storage.list_files()}
    assert {key: file.size for key, file in files.items()} == {"a/1": 3, "a/2": 5, "b/1": 7}
    assert all(abs(datetime.now(UTC) - file.modified) < timedelta(hours=1) for file in files.values())
    assert await keys(storage, "a/") == {"a/1", "a/2"}
    assert await keys(storage, "c/") == set()


@pytest.mark.parametrize("key", ["../evil", "/etc/passwd", "a/../../evil", "", "."])
async def test_no_key_leads_out_of_the_storage(storage: Storage, key: str) -> None:
    async with storage.receive() as file:
        await file.write(b"x")
        with pytest.raises(Invalid):
            await file.commit(key)
    for attempt in (storage.delete(key), read(storage, key), copied(storage, key)):
        with pytest.raises(Invalid):
            await attempt
    assert await keys(storage) == set()


async def test_a_sibling_with_the_same_beginning_is_outside(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "files-evil").mkdir()
    with pytest.raises(Invalid):
        await storage.delete("../files-evil/x")


async def test_little_room_is_told_before_anything_is_taken(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "FREE_FLOOR_BYTES", 1 << 60)
    with pytest.raises(StorageFull):
        async with storage.receive():
            pass
    with pytest.raises(StorageFull):
        await storage.check()


async def test_a_full_disk_in_the_middle_is_told_and_leaves_nothing(storage: Storage, on_their_way: Path) -> None:
    async with storage.receive() as file:
        assert isinstance(file, IncomingFile)
        file._file.close()
        file._file = open("/dev/full", "wb")  # noqa: SIM115
        with pytest.raises(StorageFull):
            await file.write(b"x" * 1_000_000)
        await file.write(b"small enough to wait in the buffer")
        with pytest.raises(StorageFull):
            await file.commit("t/full")
    assert await keys(storage) == set()
    assert [*on_their_way.iterdir()] == []


async def test_a_folder_that_vanished_is_unavailable(storage: Storage, on_their_way: Path) -> None:
    await storage.check()
    on_their_way.rmdir()
    with pytest.raises(Unavailable):
        await storage.check()


async def test_many_at_once(storage: Storage) -> None:
    await asyncio.gather(*(put(storage, f"t/{i}", b"%d" % i) for i in range(50)))
    assert await read(storage, "t/42") == b"42"
    assert len(await keys(storage)) == 50
