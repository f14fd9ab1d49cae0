"""Indexing anew what is stored (H89): coalesced, never doubled, seen by search all the while."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from app.core.errors import Forbidden
from app.core.ids import new_id
from app.repositories.jobs import BACKGROUND
from app.schemas.documents import DocumentFields
from app.schemas.reindex import ReindexRequest
from app.services import reindexing
from app.services.documents import Upload, ingest_job
from tests.conftest import MakeTenant, Tenant, make_tenant

DOCUMENTS = "/api/v1/documents"
BROKEN = b"%PDF-1.7\n" + b"q" * 500


async def reindex(tenant: Tenant, document_id: str) -> httpx.Response:
    return await tenant.http.post(f"{DOCUMENTS}/{document_id}/reindex")


async def reindex_many(tenant: Tenant, **body: Any) -> int:
    response = await tenant.http.post(f"{DOCUMENTS}/reindex", json=body)
    assert response.status_code == 202, response.text
    return int(response.json()["queued"])


async def jobs(tenant: Tenant, document_id: str) -> list[Any]:
    select = text("SELECT * FROM jobs WHERE kind = 'document.ingest' AND payload->>'document_id' = :id ORDER BY id")
    async with tenant.runtime.owner.connect() as connection:
        return [*(await connection.execute(select, {"id": document_id}))]


async def chunk_versions(tenant: Tenant, document_id: str) -> list[int]:
    select = text("SELECT document_version FROM chunks WHERE document_id = :id")
    async with tenant.runtime.owner.connect() as connection:
        return [row[0] for row in await connection.execute(select, {"id": document_id})]


async def set_status(tenant: Tenant, document_id: str, status: str) -> None:
    async with tenant.runtime.uow(tenant.caller) as uow:
        assert await uow.documents.update(UUID(document_id), 1, {"status": status}) is not None


async def test_a_new_version_of_the_same_bytes(tenant: Tenant) -> None:
    before = await tenant.add_text("The lighthouse keeper counts 41 gulls.")
    response = await reindex(tenant, before["id"])
    queued = response.json()
    assert (response.status_code, response.headers["location"]) == (202, f"{DOCUMENTS}/{before['id']}")
    assert (queued["status"], queued["version"], queued["indexed_version"]) == ("queued", 2, 1)
    after = await tenant.ended(before["id"])
    assert (after["status"], after["version"], after["indexed_version"]) == ("ready", 2, 2)
    same = ("title", "sha256", "size_bytes", "chunks", "collection", "created_at")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert await chunk_versions(tenant, before["id"]) == [2]
    content = await tenant.http.get(f"{DOCUMENTS}/{before['id']}/content")
    assert content.text == "The lighthouse keeper counts 41 gulls."


async def test_search_finds_it_all_the_while_and_once(tenant: Tenant) -> None:
    document = await tenant.add_text("The lighthouse keeper counts 42 gulls.")
    ending = asyncio.create_task(tenant.ended((await reindex(tenant, document["id"])).json()["id"]))
    versions = set()
    while not ending.done():
        found = (await tenant.http.post("/api/v1/search", json={"query": "lighthouse gulls"})).json()["items"]
        assert [item["document_id"] for item in found] == [document["id"]]
        versions.add(found[0]["document_version"])
    assert versions <= {1, 2}
    assert (await ending)["indexed_version"] == 2


async def test_many_at_once_are_one(tenant: Tenant) -> None:
    document = await tenant.add_text("The lighthouse keeper counts 43 gulls.")
    payload, key = ingest_job(UUID(document["id"]), 2)
    async with tenant.runtime.uow(tenant.caller) as uow:  # the job is there, but not due: nothing ends between them
        job_id = await uow.jobs.enqueue("document.ingest", payload, dedupe_key=key, delay_seconds=3600)
    answers = await asyncio.gather(*(reindex(tenant, document["id"]) for _ in range(20)))
    assert {(answer.status_code, answer.json()["version"]) for answer in answers} == {(202, 2)}
    assert [job.payload["version"] for job in await jobs(tenant, document["id"])] == [1, 2]
    assert job_id is not None
    async with tenant.runtime.uow(tenant.caller) as uow:
        assert await uow.jobs.run_now(job_id)
    assert (await tenant.ended(document["id"]))["indexed_version"] == 2
    assert await chunk_versions(tenant, document["id"]) == [2]


async def job_done(tenant: Tenant, document_id: str) -> None:
    """A document is ready a moment before its job says so."""
    async with asyncio.timeout(30):
        while any(job.state != "done" for job in await jobs(tenant, document_id)):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("status", ["queued", "reading", "chunking", "embedding"])
async def test_what_is_in_work_stays_as_it_is(tenant: Tenant, status: str) -> None:
    document = await tenant.add_text(f"The lighthouse keeper is {status}.")
    await job_done(tenant, document["id"])
    payload = {"document_id": document["id"], "version": 1}
    key = f"document.ingest:{document['id']}:1"
    async with tenant.runtime.uow(tenant.caller) as uow:
        await uow.documents.update(UUID(document["id"]), 1, {"status": status})
        await uow.jobs.enqueue("document.ingest", payload, dedupe_key=key, delay_seconds=3600)
    for _ in range(2):
        response = await reindex(tenant, document["id"])
        answer = response.json()
        assert (response.status_code, answer["status"], answer["version"]) == (202, status, 1)
    assert await reindex_many(tenant) == 0
    async with tenant.runtime.uow(tenant.caller) as uow:  # nor when it was ready a moment ago
        assert await uow.documents.requeue([UUID(document["id"])]) == []
    assert [job.state for job in await jobs(tenant, document["id"])] == ["done", "queued"]


async def test_what_nobody_works_at_is_taken_up_again(tenant: Tenant) -> None:
    document = await tenant.add_text("The lighthouse keeper was forgotten.")
    await job_done(tenant, document["id"])
    await set_status(tenant, document["id"], "embedding")
    assert (await reindex(tenant, document["id"])).json()["version"] == 1
    assert (await tenant.ended(document["id"]))["status"] == "ready"


async def test_a_failed_document_is_tried_again(tenant: Tenant) -> None:
    broken = await tenant.http.post(DOCUMENTS, files={"file": ("broken.pdf", BROKEN)})
    failed = await tenant.ended(broken.json()["id"])
    queued = (await reindex(tenant, failed["id"])).json()
    assert (queued["status"], queued["error"], queued["version"]) == ("queued", None, 2)
    again = await tenant.ended(failed["id"])
    assert (again["status"], again["error"]["code"], again["version"]) == ("failed", "bad_file", 2)


async def test_a_document_deleted_meanwhile_stays_deleted(tenant: Tenant) -> None:
    document = await tenant.add_text("The lighthouse keeper has left.")
    answers = await asyncio.gather(
        reindex(tenant, document["id"]),
        tenant.http.delete(f"{DOCUMENTS}/{document['id']}"),
        reindex(tenant, document["id"]),
    )
    assert answers[1].status_code == 204
    assert {answers[0].status_code, answers[2].status_code} <= {202, 404}
    await job_done(tenant, document["id"])
    assert (await tenant.http.get(f"{DOCUMENTS}/{document['id']}")).status_code == 404
    assert await chunk_versions(tenant, document["id"]) == []


async def test_many_are_queued_by_what_they_are(tenant: Tenant, new_tenant: MakeTenant) -> None:
    one = await tenant.add_text("The first gull.", collection="birds")
    two = await tenant.add_text("The second gull.", collection="birds")
    three = await tenant.add_text("The first cod.", collection="fish")
    broken = await tenant.http.post(DOCUMENTS, files={"file": ("b.pdf", BROKEN)}, data={"collection": "fish"})
    await tenant.ended(broken.json()["id"])
    other = await new_tenant()
    foreign = await other.add_text("A gull elsewhere.", collection="birds")

    assert await reindex_many(tenant, collection="stones") == 0
    assert await reindex_many(tenant, collection="birds") == 2
    assert await reindex_many(tenant, status="failed") == 1
    assert await reindex_many(tenant, status="ready", collection="fish") == 1
    for document, version in ((one, 2), (two, 2), (three, 2), (broken.json(), 2)):
        assert (await tenant.ended(document["id"]))["version"] == version
    assert await reindex_many(tenant) == 4
    assert (await other.http.get(f"{DOCUMENTS}/{foreign['id']}")).json()["version"] == 1
    assert [job.priority for job in await jobs(tenant, one["id"])] == [100, BACKGROUND, BACKGROUND]


async def test_many_go_in_batches(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [await tenant.add_text(f"Gull number {number}.") for number in range(5)]
    for at_once, version in ((2, 2), (5, 3)):  # the last batch is short, then empty
        monkeypatch.setattr(reindexing, "AT_ONCE", at_once)
        assert await reindex_many(tenant) == 5
        assert [(await tenant.ended(document["id"]))["version"] for document in documents] == [version] * 5
    assert await tenant_versions(tenant) == [(1, 5), (2, 5)]


async def tenant_versions(tenant: Tenant) -> list[tuple[int, int]]:
    """How many superseded versions are kept of each number."""
    select = text("SELECT version, count(*) FROM document_versions WHERE tenant_id = :id GROUP BY 1 ORDER BY 1")
    async with tenant.runtime.owner.connect() as connection:
        return [(row[0], row[1]) for row in await connection.execute(select, {"id": tenant.caller.tenant_id})]


async def test_a_user_reindexes_their_own_and_nothing_that_is_shared(tenant: Tenant) -> None:
    shared = await tenant.add_text("The gull is everybody's.")
    ravi = replace(tenant.caller, user_id="ravi")
    fields = DocumentFields(title="mine")
    own, _ = await tenant.runtime.documents.create(ravi, Upload(fields, "mine.txt", _once(b"The gull is Ravi's."), {}))
    await tenant.ended(str(own.id))
    for status in ("ready", "embedding"):
        await set_status(tenant, shared["id"], status)
        with pytest.raises(Forbidden):
            await tenant.runtime.reindexing.run(ravi, UUID(shared["id"]))
    await set_status(tenant, shared["id"], "ready")
    assert await tenant.runtime.reindexing.run_many(ravi, ReindexRequest()) == 1
    assert (await tenant.runtime.reindexing.run(ravi, own.id)).version >= 2
    assert (await tenant.http.get(f"{DOCUMENTS}/{shared['id']}")).json()["version"] == 1


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_not_yours_not_there_not_allowed(tenant: Tenant, new_tenant: MakeTenant) -> None:
    document, other = await tenant.add_text("The gull is mine."), await new_tenant()
    for id_ in (document["id"], str(uuid4()), "nonsense"):
        response = await reindex(other, id_)
        assert (response.status_code, response.json()["code"]) == (404, "document_not_found")
    key = f"rgc_{new_id()}{new_id()}"
    await make_tenant(tenant.runtime, new_id(), key, scopes=("chat",))
    async with tenant.service.client(key) as http:
        for path in (f"{document['id']}/reindex", "reindex"):
            response = await http.post(f"{DOCUMENTS}/{path}", json={})
            assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    bodies: list[Any] = [{"status": "queued"}, {"collection": ""}, {"colection": "birds"}, []]
    for body in bodies:
        response = await tenant.http.post(f"{DOCUMENTS}/reindex", json=body)
        assert response.status_code == 400
    assert (await tenant.http.get(f"{DOCUMENTS}/{document['id']}")).json()["version"] == 1
