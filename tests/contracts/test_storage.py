"""What every storage must do; the local folder is the one there is."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from app.core.errors import Invalid, NotFound, StorageFull, Unavailable
from app.providers.storage import LocalStorage, local


@pytest.fixture
async def storage(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path / "files")
    await storage.open()
    return storage


async def put(storage: LocalStorage, key: str, data: bytes) -> None:
    async with storage.receive() as incoming:
        await incoming.write(data)
        stored = await incoming.commit(key)
    assert (stored.size, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())


async def test_bytes_come_back_whole_and_in_part(storage: LocalStorage) -> None:
    data = bytes(range(256)) * 4000
    await put(storage, "t/one", data)
    assert b"".join([block async for block in storage.stream("t/one")]) == data
    assert b"".join([block async for block in storage.stream("t/one", 5, 300_007)]) == data[5:300_007]
    async with storage.local_copy("t/one") as path:
        assert path.read_bytes() == data


async def test_what_is_not_committed_leaves_nothing(storage: LocalStorage, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        async with storage.receive() as incoming:
            await incoming.write(b"half")
            raise RuntimeError("stop")
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_leftovers_of_a_dead_process_are_swept(storage: LocalStorage, tmp_path: Path) -> None:
    leftover = tmp_path / "files" / "incoming" / "999999999-abc"
    leftover.write_bytes(b"half")
    async with storage.receive() as incoming:
        await storage.open()
        await incoming.write(b"mine is still here")
        await incoming.commit("t/mine")
    assert not leftover.exists()


async def test_delete_and_missing(storage: LocalStorage) -> None:
    await put(storage, "t/one", b"x")
    await storage.delete("t/one")
    await storage.delete("t/one")
    with pytest.raises(NotFound):
        async with storage.local_copy("t/one"):
            pass
    with pytest.raises(NotFound):
        await anext(storage.stream("t/one"))


@pytest.mark.parametrize("key", ["../evil", "/etc/passwd", "a/../../evil", "", "."])
async def test_no_key_leads_out_of_the_folder(storage: LocalStorage, key: str) -> None:
    async with storage.receive() as incoming:
        await incoming.write(b"x")
        with pytest.raises(Invalid):
            await incoming.commit(key)
    with pytest.raises(Invalid):
        await storage.delete(key)


async def test_a_sibling_with_the_same_beginning_is_outside(storage: LocalStorage, tmp_path: Path) -> None:
    (tmp_path / "files-evil").mkdir()
    with pytest.raises(Invalid):
        await storage.delete("../files-evil/x")


async def test_little_room_is_told_before_anything_is_taken(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "FREE_FLOOR_BYTES", 1 << 60)
    with pytest.raises(StorageFull):
        async with storage.receive():
            pass


async def test_a_full_disk_in_the_middle_is_told_and_leaves_nothing(storage: LocalStorage, tmp_path: Path) -> None:
    async with storage.receive() as incoming:
        incoming._file.close()
        incoming._file = open("/dev/full", "wb")  # noqa: SIM115
        with pytest.raises(StorageFull):
            await incoming.write(b"x" * 1_000_000)
        await incoming.write(b"small enough to wait in the buffer")
        with pytest.raises(StorageFull):
            await incoming.commit("t/full")
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_a_folder_that_vanished_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await LocalStorage(tmp_path / "nowhere").check()


async def test_many_at_once(storage: LocalStorage) -> None:
    await asyncio.gather(*(put(storage, f"t/{i}", b"%d" % i) for i in range(50)))
    assert b"".join([block async for block in storage.stream("t/42")]) == b"42"
