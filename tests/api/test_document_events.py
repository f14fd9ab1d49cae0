"""A document's indexing, watched over server-sent events."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from app.api import streams
from app.db.notify import Hub
from app.repositories.documents import CHANNEL
from app.services import document_events
from app.services.document_events import DocumentEvents
from tests.conftest import MakeTenant, Service, Tenant
from tests.integration.processes import place

DOCUMENTS = "/api/v1/documents"
LONG = "\n\n".join(f"Paragraph {i} about tea, rice and the monsoon. " * 12 for i in range(40))
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%ragchat_doc%'"


class Stream:
    """The events as they come, each with its type and data."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, dict[str, Any]] | None:
        """None at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for line in self._lines:
                if line == "" and fields:
                    return fields["event"], json.loads(fields["data"])
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
        return None

    async def rest(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


@contextlib.asynccontextmanager
async def watching(http: httpx.AsyncClient, document_id: str) -> AsyncIterator[Stream]:
    async with http.stream("GET", f"{DOCUMENTS}/{document_id}/events") as response:
        assert response.status_code == 200
        yield Stream(response)


@pytest.fixture
def only_notified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by themselves: what arrives was told by the database."""
    monkeypatch.setattr(document_events, "POLL_SECONDS", 3600.0)


async def change(tenant: Tenant, document_id: str, **values: Any) -> None:
    """As a worker in another process would."""
    async with tenant.runtime.uow(tenant.caller) as uow:
        assert await uow.documents.update(UUID(document_id), 1, values) is not None


async def in_work(tenant: Tenant) -> str:
    """A document that is being embedded by nobody, so that the test says what happens to it."""
    document = await tenant.add_text(f"The kettle of {uuid4()} whistles.")
    await change(tenant, document["id"], status="embedding", progress_done=0, progress_total=4)
    return str(document["id"])


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_from_the_upload_to_ready(tenant: Tenant) -> None:
    uploaded = (await tenant.http.post(DOCUMENTS, json={"title": "Tea", "text": LONG})).json()
    async with watching(tenant.http, uploaded["id"]) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["cache-control"] == "no-store"
        events = await stream.rest()
    assert [type_ for type_, _ in events] == ["progress"] * (len(events) - 1) + ["ready"]
    assert len(events) > 2
    assert {data["id"] for _, data in events} == {uploaded["id"]}
    moments = [data["updated_at"] for _, data in events]
    assert moments == sorted(moments)
    assert events[-1][1] == (await tenant.http.get(f"{DOCUMENTS}/{uploaded['id']}")).json()


async def test_a_document_that_has_ended_is_told_at_once(tenant: Tenant) -> None:
    ready = await tenant.add_text("Tea is served at four.")
    broken = await tenant.http.post(DOCUMENTS, files={"file": ("broken.pdf", b"%PDF-1.7\n" + b"z" * 500)})
    failed = await tenant.ended(broken.json()["id"])
    for document, last in ((ready, "ready"), (failed, "failed")):
        async with watching(tenant.http, document["id"]) as stream:
            assert await stream.rest() == [("progress", document), (last, document)]
    assert failed["error"]["code"] == "bad_file"


async def test_changes_arrive_because_the_database_tells_them(tenant: Tenant, only_notified: None) -> None:
    id_ = await in_work(tenant)
    async with watching(tenant.http, id_) as stream:
        first = await stream.next()
        assert first is not None
        assert (first[0], first[1]["progress"]) == ("progress", {"stage": "embedding", "done": 0, "total": 4})
        for done in (1, 2, 3):
            await change(tenant, id_, progress_done=done)
            event = await stream.next()
            assert event is not None
            assert (event[0], event[1]["progress"]["done"]) == ("progress", done)
        await change(tenant, id_, status="failed", error_code="bad_file", error_detail="It broke.")
        assert [type_ for type_, _ in await stream.rest()] == ["progress", "failed"]


async def test_what_is_rolled_back_is_not_told(tenant: Tenant, only_notified: None) -> None:
    id_ = await in_work(tenant)
    async with watching(tenant.http, id_) as stream:
        await stream.next()
        with contextlib.suppress(ZeroDivisionError):
            async with tenant.runtime.uow(tenant.caller) as uow:
                await uow.documents.update(UUID(id_), 1, {"progress_done": 1})
                raise ZeroDivisionError
        await change(tenant, id_, progress_done=2)
        event = await stream.next()
        assert event is not None
        assert event[1]["progress"]["done"] == 2


async def test_a_deleted_document_ends_the_stream(tenant: Tenant, only_notified: None) -> None:
    id_ = await in_work(tenant)
    async with watching(tenant.http, id_) as stream:
        await stream.next()
        assert (await tenant.http.delete(f"{DOCUMENTS}/{id_}")).status_code == 204
        assert await stream.rest() == [("deleted", {"id": id_})]


async def test_without_notifications_it_is_slower_but_not_wrong(tenant: Tenant, monkeypatch: Any) -> None:
    monkeypatch.setattr(document_events, "POLL_SECONDS", 0.05)
    id_ = await in_work(tenant)
    deaf = DocumentEvents(tenant.runtime.uow, Hub(tenant.runtime.owner, "nobody_tells_anything_here"))
    try:
        seen = []
        async for event in deaf.follow(tenant.caller, UUID(id_)):
            seen.append(event.type)
            if len(seen) < 5:  # more often than once, which is when the connection stands
                await change(tenant, id_, progress_done=len(seen))
            else:
                await change(tenant, id_, status="ready")
        assert seen == ["progress"] * 6 + ["ready"]
    finally:
        await deaf.close()


async def test_somebody_elses_document_is_a_problem_and_no_stream(tenant: Tenant, new_tenant: MakeTenant) -> None:
    id_, other = await in_work(tenant), await new_tenant()
    for unknown in (id_, str(uuid4()), "nonsense"):
        response = await other.http.get(f"{DOCUMENTS}/{unknown}/events")
        assert (response.status_code, response.json()["code"]) == (404, "document_not_found")
    async with tenant.service.client() as http:
        assert (await http.get(f"{DOCUMENTS}/{id_}/events")).status_code == 401


async def test_many_streams_share_one_connection_and_hold_no_other(tenant: Tenant, only_notified: None) -> None:
    id_ = await in_work(tenant)
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(watching(tenant.http, id_)) for _ in range(40)]
        for stream in opened:
            await stream.next()
        assert tenant.runtime.document_events.followers == 40
        async with tenant.runtime.owner.connect() as connection:
            assert len((await connection.execute(text(LISTENERS))).all()) == 1
        await change(tenant, id_, status="ready")
        for stream in opened:
            assert [type_ for type_, _ in await stream.rest()] == ["progress", "ready"]


async def test_a_client_that_leaves_leaves_nothing_behind(tenant: Tenant) -> None:
    id_ = await in_work(tenant)
    tasks = len(asyncio.all_tasks())
    async with tenant.service.client(tenant.key) as http, contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(watching(http, id_)) for _ in range(10)]
        for stream in opened:
            await stream.next()
        assert tenant.runtime.document_events.followers == 10

    async def nobody() -> bool:
        return tenant.runtime.document_events.followers == 0 and len(asyncio.all_tasks()) <= tasks + 1

    await until(nobody)  # + 1: the one that listens, if this was the first stream of all


async def test_the_listener_comes_back_when_its_connection_breaks(tenant: Tenant, only_notified: None) -> None:
    id_ = await in_work(tenant)
    async with watching(tenant.http, id_) as stream:
        await stream.next()

        async def listeners() -> list[int]:
            async with tenant.runtime.owner.connect() as connection:
                return [row.pid for row in await connection.execute(text(LISTENERS))]

        async def there_is_one() -> bool:
            return len(await listeners()) == 1

        await until(there_is_one)
        (before,) = await listeners()
        async with tenant.runtime.owner.connect() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": before})
        await change(tenant, id_, status="ready")  # nobody listens now: it is seen after the reconnection
        assert [type_ for type_, _ in await stream.rest()] == ["progress", "ready"]
        assert await listeners() != [before]


async def test_a_ping_while_nothing_happens(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PING_SECONDS", 0.05)
    id_ = await in_work(tenant)
    async with tenant.http.stream("GET", f"{DOCUMENTS}/{id_}/events") as response, asyncio.timeout(30):
        lines = response.aiter_lines()
        while await anext(lines) != ": ping":
            pass


async def test_a_stream_does_not_live_for_ever(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_events, "POLL_SECONDS", 0.05)
    id_ = await in_work(tenant)
    hub = Hub(tenant.runtime.owner, CHANNEL)
    short = DocumentEvents(tenant.runtime.uow, hub, life_seconds=0.5)
    try:
        async with asyncio.timeout(30):
            assert [event.type async for event in short.follow(tenant.caller, UUID(id_))] == ["progress"]
        assert short.followers == 0
    finally:
        await short.close()


async def test_a_service_that_stops_does_not_wait_for_those_who_watch(service: Service) -> None:
    async with place() as here:
        child = await here.serve("--no-worker")
        async with here.client() as http:
            id_ = (await http.post(DOCUMENTS, json={"title": "a", "text": "b"})).json()["id"]
            async with watching(http, id_) as stream:
                await stream.next()
                assert await child.stop() == 0
                assert await stream.rest() == []
