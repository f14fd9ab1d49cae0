"""`ragchat verify`: what does not fit together is found, once, and mended only on request."""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.caller import DEFAULT_TENANT, tenant_caller
from app.core.ids import new_id
from app.db import migrate
from app.db.engine import create_engine
from app.db.file_list import FileList, open_file_list
from app.db.uow import uow_factory
from app.providers.ports import Storage
from app.providers.storage import open_storage
from app.services import verification
from app.services.verification import Finding, Repairs, Verification
from tests import s3_server as servers
from tests.conftest import make_database
from tests.integration.processes import Done, ended, place, rows
from tests.s3_server import new_bucket

s3_server, aws_environment = servers.s3_server, servers.aws_environment
DOCUMENTS = "/api/v1/documents"
DAY = 86_400
TENANT = tenant_caller(DEFAULT_TENANT)


# --- the command ---


def put(path: Path, *, age: float = DAY) -> str:
    """A file, and the name under which it is reported."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"abc")
    then = time.time() - age
    os.utime(path, (then, then))
    return f"{path.parent.name}/{path.name}"


def found(done: Done) -> set[tuple[str, str, str | None]]:
    """(kind, document or key, action)"""
    *findings, summary = done.lines
    assert summary["kind"] == "summary"
    assert sum(summary["findings"].values()) == len(findings)
    return {(each["kind"], each.get("document_id") or each["key"], each.get("action")) for each in findings}


async def upload(http: Any, name: str) -> str:
    answer = await http.post(DOCUMENTS, json={"title": name, "text": f"The kettle {name} whistles at {uuid4()}."})
    assert answer.status_code == 202
    return str(answer.json()["id"])


async def key_of(url: str, document_id: str) -> str:
    return str((await rows(url, "SELECT storage_key FROM documents WHERE id::text = $1", document_id))[0][0])


async def test_everything_that_can_be_wrong(postgres: URL) -> None:
    url = await make_database(postgres, "test_verify")
    async with place(database_url=url) as here:
        service = await here.serve("--no-worker")
        async with here.client() as http:
            names = ("gone", "waiting", "stuck", "odd", "fine")
            ids = {name: await upload(http, name) for name in names}
            worker = await here.start("worker")
            for id_ in ids.values():
                assert (await ended(http, id_))["status"] == "ready"
            assert await worker.stop() == 0

            clean = await here.run("verify")
            assert (clean.code, clean.out, clean.err) == (0, "all is well; 5 files looked at\n", "")

            keys = await make_a_mess(url, here.data / "files", ids)
            expected = {
                ("missing_file", ids["gone"], None),
                ("missing_file", ids["waiting"], None),
                ("missing_file", ids["odd"], None),
                ("orphan_file", keys["orphan"], None),
                ("unknown_file", keys["unknown"], None),
                ("stuck", ids["stuck"], None),
                ("leftover_chunks", ids["odd"], None),
                ("without_vector", ids["fine"], None),
            }
            for _ in range(2):  # looking changes nothing
                looked = await here.run("verify", "--json")
                assert (looked.code, looked.err) == (1, "")
                assert found(looked) == expected
            odd = next(
                each for each in looked.lines if each["kind"] == "missing_file" and each["document_id"] == ids["odd"]
            )
            assert (odd["version"], "status" in odd) == (0, False)

            mended = await here.run("verify", "--delete-orphans", "--fail-missing", "--requeue")
            assert mended.code == 1
            assert mended.out.count(" -> ") == 3
            assert mended.out.splitlines()[-1].endswith("7 files looked at")
            for key in ("young", "being deleted", "unknown"):
                assert (here.data / "files" / keys[key]).exists()
            assert not (here.data / "files" / keys["orphan"]).exists()

            document = (await http.get(f"{DOCUMENTS}/{ids['waiting']}")).json()
            assert (document["status"], document["error"]["code"]) == ("failed", "file_missing")
            assert (await http.get(f"{DOCUMENTS}/{ids['gone']}")).json()["status"] == "ready"
            worker = await here.start("worker")
            assert (await ended(http, ids["stuck"]))["status"] == "ready"
            assert await worker.stop() == 0

            left = found(await here.run("verify", "--json", "--delete-orphans", "--fail-missing", "--requeue"))
            solved = {("orphan_file", keys["orphan"], None), ("stuck", ids["stuck"], None)}
            assert left == expected - solved
        assert await service.stop() == 0


async def make_a_mess(url: str, files: Path, ids: dict[str, str]) -> dict[str, str]:
    """The keys of files that nobody asked for."""
    for name in ("gone", "waiting"):
        (files / await key_of(url, ids[name])).unlink()
    tenant = files / str(DEFAULT_TENANT)
    keys = {
        "orphan": put(tenant / str(new_id())),
        "young": put(tenant / str(new_id()), age=60),
        "being deleted": put(tenant / str(new_id())),
        "unknown": put(files / "lost+found" / "README"),
    }
    await rows(url, "DELETE FROM jobs")
    await rows(
        url,
        """INSERT INTO jobs (id, tenant_id, kind, payload, dedupe_key, run_at)
           VALUES (gen_random_uuid(), $1, 'file.delete', jsonb_build_object('key', $2::text),
                   'file.delete:' || $2::text, now() + interval '1 hour')""",
        DEFAULT_TENANT,
        keys["being deleted"],
    )
    await rows(url, "UPDATE documents SET status = 'queued' WHERE id::text = ANY($1)", [ids["waiting"], ids["stuck"]])
    await rows(
        url,
        """INSERT INTO jobs (id, tenant_id, kind, payload, run_at)
           VALUES (gen_random_uuid(), $1, 'document.ingest',
                   jsonb_build_object('document_id', $2::text, 'version', 1), now() + interval '1 hour')""",
        DEFAULT_TENANT,
        ids["waiting"],
    )
    await rows(
        url,
        """INSERT INTO document_versions
               (document_id, tenant_id, version, filename, kind, sha256, size_bytes, storage_key)
           SELECT id, tenant_id, 0, filename, kind, sha256, size_bytes, storage_key || '0' FROM documents
           WHERE id::text = $1""",
        ids["odd"],
    )
    await rows(
        url,
        """INSERT INTO chunks SELECT (jsonb_populate_record(c, jsonb_build_object(
               'id', gen_random_uuid(), 'document_version', 7))).* FROM chunks c WHERE document_id::text = $1""",
        ids["odd"],
    )
    await rows(
        url,
        "DELETE FROM chunk_embeddings WHERE chunk_id IN (SELECT id FROM chunks WHERE document_id::text = $1)",
        ids["fine"],
    )
    return keys


# --- what changes while it looks; on both kinds of storage ---


Happening = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    pass


class Shelf:
    """A database and a storage of their own."""

    def __init__(self, engine: AsyncEngine, storage: Storage) -> None:
        self.uow = uow_factory(engine)
        self.engine = engine
        self.storage = storage

    async def file(self) -> str:
        key = f"{DEFAULT_TENANT}/{new_id()}"
        async with self.storage.receive() as incoming:
            await incoming.write(b"abc")
            await incoming.commit(key)
        return key

    async def row(self, key: str, **values: Any) -> UUID:
        id_ = new_id()
        fields = {"title": "a", "filename": "a", "kind": "txt", "size_bytes": 3, "status": "ready"}
        async with self.uow(TENANT) as uow:
            await uow.documents.insert(fields | {"id": id_, "storage_key": key, "sha256": os.urandom(32)} | values)
        return id_

    async def delete_row(self, id_: UUID) -> None:
        async with self.uow(TENANT) as uow:
            await uow.documents.delete(id_)

    def verification(self, meanwhile: Happening = _nothing, later: Happening = _nothing) -> Verification:
        """`meanwhile` happens between the listing and the comparison, `later` between that and the second look."""

        class Slow(FileList):
            async def finish(self) -> None:
                await super().finish()
                await meanwhile()

            async def absent(self, *, after: tuple[UUID, int], limit: int) -> list[dict[str, Any]]:
                found = await super().absent(after=after, limit=limit)
                await later()
                return found

        @contextlib.asynccontextmanager
        async def open_list() -> AsyncIterator[FileList]:
            async with open_file_list(self.engine) as listed:
                yield Slow(listed._connection)

        return Verification(self.uow, self.storage, open_list)

    async def findings(self, meanwhile: Happening = _nothing, later: Happening = _nothing) -> list[Finding]:
        return [finding async for finding in self.verification(meanwhile, later).run(Repairs())]


@pytest.fixture(params=["local", "s3"])
async def shelf(
    request: pytest.FixtureRequest, postgres: URL, aws_environment: None, tmp_path: Path, monkeypatch: Any
) -> AsyncIterator[Shelf]:
    monkeypatch.setattr(verification, "YOUNG", timedelta(minutes=-1))  # a bucket's files cannot be made older
    engine = create_engine(await make_database(postgres, "test_verify_shelf"), pool_size=5)
    await migrate.upgrade(engine)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        where = {}
        if request.param == "s3":
            bucket = await stack.enter_async_context(new_bucket(request.getfixturevalue("s3_server")))
            where = {"bucket": bucket.name, "prefix": "kept/", "endpoint_url": bucket.endpoint_url}
        storage = open_storage(tmp_path / "files", **where)
        stack.push_async_callback(storage.close)
        await storage.open()
        yield Shelf(engine, storage)


async def test_what_changes_meanwhile_is_no_finding(shelf: Shelf) -> None:
    deleted_file, moved_in, row_gone = await shelf.file(), await shelf.file(), await shelf.file()
    id_ = await shelf.row(row_gone)
    await shelf.storage.delete(row_gone)
    late: list[str] = []

    late_ids: list[UUID] = []

    async def meanwhile() -> None:
        await shelf.storage.delete(deleted_file)
        await shelf.row(moved_in)
        late.extend([await shelf.file(), await shelf.file()])
        late_ids.extend([await shelf.row(key) for key in late])
        await shelf.delete_row(id_)

    async def later() -> None:
        await shelf.delete_row(late_ids[0])
        await shelf.storage.delete(late[0])

    assert await shelf.findings(meanwhile, later) == []
    assert len(late) == 2


async def test_a_row_without_file_and_a_file_without_row(shelf: Shelf) -> None:
    key, lost = await shelf.file(), f"{DEFAULT_TENANT}/{new_id()}"
    id_ = await shelf.row(lost)
    missing, orphan = await shelf.findings()
    assert (missing.kind, missing.document_id, missing.version, missing.key) == ("missing_file", id_, 1, lost)
    assert (orphan.kind, orphan.key, orphan.size) == ("orphan_file", key, 3)


async def test_page_after_page(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "AT_ONCE", 3)
    monkeypatch.setattr(verification, "QUESTIONS_AT_ONCE", 2)
    files = {await shelf.file() for _ in range(7)}
    lost = {await shelf.row(f"{DEFAULT_TENANT}/{new_id()}") for _ in range(7)}
    stuck = {await shelf.row(await shelf.file(), status="embedding") for _ in range(7)}
    checked = shelf.verification()
    found = [finding async for finding in checked.run(Repairs())]
    assert len(found) == 21
    assert checked.files == 14
    assert {each.key for each in found if each.kind == "orphan_file"} == files
    assert {each.document_id for each in found if each.kind == "missing_file"} == lost
    assert {each.document_id for each in found if each.kind == "stuck"} == stuck


async def test_a_file_that_is_wanted_after_all_is_not_deleted(shelf: Shelf) -> None:
    """The last look is right before the deletion."""
    keys = {await shelf.file(), await shelf.file()}
    told: list[Finding] = []
    async for finding in shelf.verification().run(Repairs(delete_orphans=True)):
        if not told:
            (other,) = keys - {finding.key}
            await shelf.row(str(other))
        told.append(finding)
    assert [finding.action for finding in told] == ["deleted", None]
    assert {file.key async for file in shelf.storage.list_files()} == {told[1].key}


async def test_only_what_is_not_ready_fails(shelf: Shelf) -> None:
    async def lost(**values: Any) -> UUID:
        return await shelf.row(f"{DEFAULT_TENANT}/{new_id()}", **values)

    ids = [
        await lost(status="ready"),
        await lost(status="embedding"),
        await lost(status="failed", error_code="no_text", error_detail="a"),
        await lost(status="failed", error_code="file_missing", error_detail="a"),
    ]
    found = [each async for each in shelf.verification().run(Repairs(fail_missing=True)) if each.key]
    assert {each.document_id: each.action for each in found} == dict(
        zip(ids, [None, "failed", "failed", None], strict=True)
    )
    async with shelf.engine.connect() as connection:
        rows_ = await connection.execute(text("SELECT id, status, error_code FROM documents"))
        after = {row.id: (row.status, row.error_code) for row in rows_}
    assert [after[id_] for id_ in ids] == [("ready", None)] + [("failed", "file_missing")] * 3
