"""`ragchat jobs` as a process: the queue, looked at and mended by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import URL

from app.core.caller import SYSTEM
from app.db.engine import create_engine
from app.db.uow import uow_factory
from tests.conftest import make_database
from tests.integration.processes import Done, Place, ended, place, rows

pytestmark = pytest.mark.xdist_group("jobs_cli")
DOCUMENTS = "/api/v1/documents"
JOB = "SELECT * FROM jobs WHERE payload->>'document_id' = $1 ORDER BY id"
DEAD = "UPDATE jobs SET state = 'dead', error_code = 'internal', finished_at = now(), attempts = 5 WHERE id = $1"
FAILED = "UPDATE documents SET status = 'failed', error_code = 'internal', error_detail = 'a' WHERE id::text = $1"


class Office:
    """A service without a worker: what is queued stays queued."""

    def __init__(self, here: Place, http: httpx.AsyncClient, url: str) -> None:
        self.here = here
        self.http = http
        self.url = url

    async def add(self, **fields: Any) -> tuple[str, Any]:
        """A queued document's id, and its job."""
        text = f"The kettle of {uuid4()} whistles."
        answer = await self.http.post(DOCUMENTS, json={"title": "kettle", "text": text} | fields)
        assert answer.status_code == 202, answer.text
        id_ = answer.json()["id"]
        return id_, (await self.jobs(id_))[0]

    async def jobs(self, document_id: str) -> list[Any]:
        return await rows(self.url, JOB, document_id)

    async def document(self, id_: str) -> dict[str, Any]:
        return dict((await self.http.get(f"{DOCUMENTS}/{id_}")).json())

    async def dead(self, **fields: Any) -> tuple[str, Any]:
        """A document that failed because its job died."""
        id_, job = await self.add(**fields)
        await rows(self.url, DEAD, job["id"])
        await rows(self.url, FAILED, id_)
        return id_, job


@pytest.fixture(scope="module")
async def office(postgres: URL) -> AsyncIterator[Office]:
    url = await make_database(postgres, "test_jobs_cli")
    async with place(database_url=url) as here:
        await here.serve("--no-worker")
        async with here.client() as http:
            yield Office(here, http, url)


@pytest.fixture(autouse=True)
async def nothing_queued(office: Office) -> None:
    await rows(office.url, "DELETE FROM jobs")


async def test_list(office: Office) -> None:
    _, first = await office.add()
    id_, second = await office.dead()
    _, done = await office.add()
    await rows(office.url, "UPDATE jobs SET state = 'done', finished_at = now() WHERE id = $1", done["id"])
    await rows(office.url, "UPDATE jobs SET run_at = now() + interval '90 minutes' WHERE id = $1", first["id"])

    listed, found, dead, finished, short = await asyncio.gather(
        office.here.run("jobs", "list"),
        office.here.run("jobs", "list", "--json"),
        office.here.run("jobs", "list", "--json", "--state", "dead", "--kind", "document.ingest"),
        office.here.run("jobs", "list", "--json", "--state", "done"),
        office.here.run("jobs", "list", "--limit", "1"),
    )
    assert (listed.code, listed.err) == (0, "")
    head, *lines = [line.split() for line in listed.out.splitlines()]
    assert head == ["id", "kind", "state", "attempts", "age", "due", "worker", "error", "about"]
    assert [line[:4] for line in lines] == [
        [str(second["id"])[-8:], "document.ingest", "dead", "5/5"],
        [str(first["id"])[-8:], "document.ingest", "queued", "0/5"],
    ]
    assert f"document_id={id_}" in lines[0]
    assert "internal" in lines[0]
    assert "in 1h" in listed.out
    assert [line.split()[0] for line in short.out.splitlines()] == ["id", lines[0][0]]
    assert short.err == "1 more; see --limit\n"

    def ids(done: Done) -> list[str]:
        return [job["id"] for job in json.loads(done.out)]

    assert ids(found) == [str(second["id"]), str(first["id"])]
    assert json.loads(found.out)[0]["payload"] == {"document_id": id_, "version": 1}
    assert (ids(dead), ids(finished)) == ([str(second["id"])], [str(done["id"])])


async def test_bury_a_queued_job(office: Office) -> None:
    id_, job = await office.add()
    buried = await office.here.run("jobs", "bury", str(job["id"]))
    assert (buried.code, buried.out, buried.err) == (0, f"{job['id']}: is dead now\n", "")
    (after,) = await office.jobs(id_)
    assert (after["state"], after["error_code"]) == ("dead", "buried")
    document = await office.document(id_)
    assert (document["status"], document["error"]["code"]) == ("failed", "buried")

    again = await office.here.run("jobs", "bury", str(job["id"]))
    assert (again.code, again.out, again.err) == (1, "", f"{job['id']}: is dead already\n")


async def test_bury_a_running_job_and_its_worker_can_write_no_more(office: Office) -> None:
    id_, _ = await office.add()
    engine = create_engine(office.url, pool_size=2)
    uow = uow_factory(engine)
    try:
        async with uow(SYSTEM) as work:
            running = await work.jobs.claim("a worker", (), long=False)
        assert running is not None
        buried = await office.here.run("jobs", "bury", str(running["id"])[-8:])
        assert buried.code == 0
        async with uow(SYSTEM) as work:
            assert not await work.jobs.holds_lease(running["id"], running["lease_token"])
            assert not await work.jobs.complete(running["id"], running["lease_token"])
    finally:
        await engine.dispose()
    assert (await office.document(id_))["error"]["code"] == "buried"


async def test_bury_leaves_a_document_that_is_ready_or_newer(office: Office) -> None:
    """Its worker had finished it and only not said so; or it is about another version by now."""
    ready, first = await office.add()
    await rows(office.url, "UPDATE documents SET status = 'ready', indexed_version = 1 WHERE id::text = $1", ready)
    newer, second = await office.add()
    await rows(office.url, "UPDATE documents SET version = 2 WHERE id::text = $1", newer)
    buried = await office.here.run("jobs", "bury", str(first["id"]), str(second["id"]))
    assert buried.code == 0
    assert (await office.document(ready))["status"] == "ready"
    assert (await office.document(newer))["status"] == "queued"


async def test_retry_a_dead_job_and_its_document_is_indexed(office: Office) -> None:
    id_, job = await office.dead()
    retried = await office.here.run("jobs", "retry", str(job["id"])[:35])
    assert (retried.code, retried.out, retried.err) == (0, f"{job['id']}: runs now\n", "")
    (after,) = await office.jobs(id_)
    assert (after["state"], after["attempts"], after["error_code"]) == ("queued", 0, None)
    document = await office.document(id_)
    assert (document["status"], document["error"]) == ("queued", None)

    worker = await office.here.start("worker")
    assert (await ended(office.http, id_))["status"] == "ready"
    assert await worker.stop() == 0


async def test_retry_what_waits_for_its_next_attempt_but_not_what_is_planned(office: Office) -> None:
    later = "UPDATE jobs SET run_at = now() + interval '1 hour', attempts = $2 WHERE id = $1"
    waiting_id, waiting = await office.add()
    await rows(office.url, later, waiting["id"], 3)
    planned_id, planned = await office.add()
    await rows(office.url, later, planned["id"], 0)
    done = await office.here.run("jobs", "retry", str(waiting["id"]), str(planned["id"]))
    assert (done.code, done.out) == (1, f"{waiting['id']}: runs now\n")
    assert done.err == f"{planned['id']}: is queued; it needs no retry\n"
    due = "SELECT run_at <= now() AS due, attempts FROM jobs WHERE payload->>'document_id' = $1"
    assert [tuple(row) for row in await rows(office.url, due, waiting_id)] == [(True, 0)]
    assert [tuple(row) for row in await rows(office.url, due, planned_id)] == [(False, 0)]


TWIN = """
INSERT INTO jobs (id, tenant_id, kind, payload, dedupe_key)
SELECT gen_random_uuid(), tenant_id, kind, payload, dedupe_key FROM jobs WHERE id = $1
"""


async def test_retry_does_not_double_what_is_live(office: Office) -> None:
    id_, job = await office.dead()
    await rows(office.url, TWIN, job["id"])
    done = await office.here.run("jobs", "retry", str(job["id"]))
    assert (done.code, done.out) == (1, "")
    assert done.err == f"{job['id']}: not retried: another job for the same is queued or running\n"
    assert sorted(row["state"] for row in await office.jobs(id_)) == ["dead", "queued"]
    assert (await office.document(id_))["status"] == "failed"


async def test_retry_does_not_undo_what_came_after(office: Office) -> None:
    ready, first = await office.dead()
    await rows(office.url, "UPDATE documents SET status = 'ready' WHERE id::text = $1", ready)
    newer, second = await office.dead()
    await rows(office.url, "UPDATE documents SET version = 2 WHERE id::text = $1", newer)
    gone, third = await office.dead()
    await rows(office.url, "DELETE FROM documents WHERE id::text = $1", gone)
    done = await office.here.run("jobs", "retry", "--all-dead")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("not retried: what it is about is gone, has a newer version or is ready") == 3
    states = await rows(
        office.url, "SELECT DISTINCT state FROM jobs WHERE id = ANY($1)", [first["id"], second["id"], third["id"]]
    )
    assert [row["state"] for row in states] == ["dead"]


async def test_retry_all_dead_of_every_tenant(office: Office) -> None:
    tenant = uuid4()
    await rows(office.url, "INSERT INTO tenants (id, name) VALUES ($1, $2)", tenant, str(tenant))
    dead = [await office.dead() for _ in range(3)]
    move = "UPDATE {} SET tenant_id = $1 WHERE {} = $2"
    await rows(office.url, move.format("documents", "id::text"), tenant, dead[0][0])
    await rows(office.url, move.format("jobs", "id"), tenant, dead[0][1]["id"])
    done = await office.here.run("jobs", "retry", "--all-dead")
    assert (done.code, done.err) == (0, "")
    assert sorted(done.out.splitlines()) == sorted(f"{job['id']}: runs now" for _, job in dead)
    statuses = await rows(
        office.url, "SELECT DISTINCT status FROM documents WHERE id::text = ANY($1)", [i for i, _ in dead]
    )
    assert [row["status"] for row in statuses] == ["queued"]

    nothing = await office.here.run("jobs", "retry", "--all-dead")
    assert (nothing.code, nothing.out, nothing.err) == (1, "", "no job matches\n")


async def test_names_that_are_none_or_several(office: Office) -> None:
    _, first = await office.add()
    await office.add()
    unknown = "no job has this id, or one that begins or ends with it"
    expected = {str(uuid4()): unknown, "%%%%": unknown, "abc": unknown}
    expected[str(first["id"])[:5]] = "several jobs have ids that begin or end with this"
    for command in ("retry", "bury"):
        done = await office.here.run("jobs", command, *expected)
        assert (done.code, done.out) == (1, "")
        assert done.err.splitlines() == [f"{given}: {sentence}" for given, sentence in expected.items()]
    for arguments in ((), (str(first["id"]), "--all-dead")):
        done = await office.here.run("jobs", "retry", *arguments)
        assert (done.code, done.err) == (2, "name the jobs, or say --all-dead\n")


async def test_nothing_is_made_where_there_is_no_database(here: Place) -> None:
    done = await here.run("jobs", "list")
    assert (done.code, done.out) == (2, "")
    assert done.err == f"there is no database in {here.data} yet; the first start makes it\n"
    assert [*here.data.iterdir()] == []
