"""Webhooks on the wire: a real receiver, real jobs, real signatures."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import URL, text

from app.core.ids import new_id
from app.models import Document
from app.schemas.webhooks import Event
from app.services.webhooks import announce, signature
from tests.api.test_hostile_tools import watched_logs
from tests.conftest import ROOT, Service, Tenant, make_database, make_settings, serving
from tests.integration.processes import free_port
from tests.integration.receivers import Arrival, receiving

WEBHOOKS = "/api/v1/webhooks"
PAGE = (ROOT / "docs" / "webhooks.md").read_text()


def block(name: str) -> str:
    found = re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name
    return found.group(1)


def genuine(secret: str, arrival: Arrival) -> bool:
    """By the specification's words."""
    id_, moment = arrival.headers["webhook-id"], arrival.headers["webhook-timestamp"]
    version, _, given = arrival.headers["webhook-signature"].partition(",")
    mac = hmac.new(base64.b64decode(secret[len("whsec_") :]), digestmod=hashlib.sha256)
    for part in (id_.encode(), b".", moment.encode(), b".", arrival.body):
        mac.update(part)
    return version == "v1" and base64.b64decode(given, validate=True) == mac.digest()


@pytest.fixture(scope="module")
async def hooked(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    settings = make_settings(
        database_url=await make_database(postgres, "test_webhooks"),
        data_dir=tmp_path_factory.mktemp("webhooks"),
        webhook_allowed_hosts="127.0.0.1",
    )
    async with serving(settings) as (address, runtime):
        yield Service(address, runtime)


@contextlib.asynccontextmanager
async def tenant_of(service: Service) -> AsyncIterator[Tenant]:
    caller, key = await service.tenant()
    async with service.client(key) as http:
        yield Tenant(service, caller, key, http)


@pytest.fixture
async def mine(hooked: Service) -> AsyncIterator[Tenant]:
    async with tenant_of(hooked) as tenant:
        yield tenant


async def create(tenant: Tenant, url: str, *events: str) -> dict[str, Any]:
    response = await tenant.http.post(WEBHOOKS, json={"url": url} | ({"events": events} if events else {}))
    assert response.status_code == 201, response.text
    return dict(response.json())


async def read(tenant: Tenant, webhook: dict[str, Any]) -> dict[str, Any]:
    return dict((await tenant.http.get(f"{WEBHOOKS}/{webhook['id']}")).json())


async def happens(tenant: Tenant, event: Event = "document.ready", **values: Any) -> Document:
    """A document reaches this state; no file, no indexing."""
    id_, ready = new_id(), event == "document.ready"
    row = {
        "id": id_, "title": "Salaries", "filename": "salaries.pdf", "kind": "pdf", "sha256": id_.bytes * 2,
        "size_bytes": 1, "storage_key": str(id_), "status": "queued", "chunk_count": 42, "page_count": 12,
    }  # fmt: skip
    async with tenant.runtime.uow(tenant.caller) as uow:
        assert await uow.documents.insert(row | values) is not None
        after = {"status": "ready"} if ready else {"status": "failed", "error_code": "no_text"}
        document = await uow.documents.update(id_, 1, after)
        assert document is not None
        await announce(uow, document, event)
    return document


async def jobs(tenant: Tenant) -> list[Any]:
    select = text("SELECT * FROM jobs WHERE tenant_id = :tenant AND kind = 'webhook.deliver' ORDER BY id")
    async with tenant.runtime.owner.connect() as connection:
        return [*(await connection.execute(select, {"tenant": tenant.caller.tenant_id})).mappings()]


async def job_when(tenant: Tenant, condition: Callable[[Any], bool]) -> Any:
    """The tenant's only job, once the condition holds."""
    async with asyncio.timeout(30):
        while True:
            (job,) = await jobs(tenant)
            if condition(job):
                return job
            await asyncio.sleep(0.02)


async def hurry(tenant: Tenant) -> None:
    """The pause before the next attempt is over."""
    now = text("UPDATE jobs SET run_at = now() WHERE tenant_id = :tenant AND state = 'queued'")
    async with tenant.runtime.owner.begin() as connection:
        await connection.execute(now, {"tenant": tenant.caller.tenant_id})
        await connection.execute(text("SELECT pg_notify('ragchat_jobs', '')"))


def waits(attempts: int) -> Callable[[Any], bool]:
    return lambda job: job["state"] == "queued" and job["attempts"] == attempts


def ended(job: Any) -> bool:
    return bool(job["state"] in ("done", "dead"))


class TestMessage:
    async def test_arrives_once_and_is_genuine(self, mine: Tenant) -> None:
        with receiving() as receiver:
            webhook = await create(mine, receiver.url("/hook?team=a"))
            document = await happens(mine, external_id="handbook")
            (arrival,) = await receiver.got()
            assert (await job_when(mine, ended))["state"] == "done"
        assert genuine(webhook["secret"], arrival)
        assert not genuine(webhook["secret"], replace(arrival, body=arrival.body.replace(b"42", b"43")))
        assert not genuine("whsec_" + base64.b64encode(b"x" * 32).decode(), arrival)
        assert arrival.path == "/hook?team=a"
        assert arrival.headers["content-type"] == "application/json"
        assert arrival.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert abs(int(arrival.headers["webhook-timestamp"]) - time.time()) < 60
        assert UUID(arrival.headers["webhook-id"]).version == 7
        message = json.loads(arrival.body)
        assert message == {
            "type": "document.ready",
            "timestamp": message["timestamp"],
            "data": {
                "document_id": str(document.id),
                "external_id": "handbook",
                "version": 1,
                "status": "ready",
                "error_code": None,
                "chunks": 42,
                "pages": 12,
            },
        }
        assert datetime.fromisoformat(message["timestamp"]) == document.updated_at
        state = await read(mine, webhook)
        assert (state["last_status"], state["last_error"]) == (200, None)
        assert state["last_attempt_at"].endswith("Z")

    async def test_tells_of_failures_too(self, mine: Tenant) -> None:
        with receiving() as receiver:
            webhook = await create(mine, receiver.url())
            await happens(mine, "document.failed")
            (arrival,) = await receiver.got()
        assert genuine(webhook["secret"], arrival)
        data = json.loads(arrival.body)["data"]
        assert (data["status"], data["error_code"], data["chunks"], data["pages"]) == ("failed", "no_text", None, None)

    async def test_goes_to_those_who_asked_for_it(self, mine: Tenant, hooked: Service) -> None:
        async with tenant_of(hooked) as other:
            with receiving() as receiver:
                await create(mine, receiver.url("/ready"), "document.ready")
                await create(mine, receiver.url("/failed"), "document.failed")
                await create(mine, receiver.url("/both"))
                await create(other, receiver.url("/other"))
                await happens(mine)
                arrivals = await receiver.got(2)
                assert sorted(arrival.path for arrival in arrivals) == ["/both", "/ready"]
                assert len({arrival.headers["webhook-id"] for arrival in arrivals}) == 1
            assert await jobs(other) == []

    async def test_holds_ids_and_numbers_only(self, mine: Tenant) -> None:
        with receiving() as receiver:
            await create(mine, receiver.url())
            await happens(mine, title="Top secret", filename="plan-b.pdf")
            (arrival,) = await receiver.got()
            (job,) = await jobs(mine)
        for said in (arrival.body.decode(), json.dumps(job["payload"])):
            assert "secret" not in said
            assert "plan" not in said
        assert "whsec_" not in repr(job)

    def test_signature_of_the_specifications_example(self) -> None:
        given = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")
        assert signature(*given, b'{"test": 2432232314}') == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class TestRetry:
    async def test_after_a_bad_status_with_the_same_id_and_a_new_signature(self, mine: Tenant) -> None:
        with receiving(500, 404) as receiver:
            webhook = await create(mine, receiver.url())
            await happens(mine)
            job = await job_when(mine, waits(1))
            assert (job["error_code"], job["max_attempts"]) == ("webhook_status", 8)
            state = await read(mine, webhook)
            assert (state["last_status"], state["last_error"]) == (500, "webhook_status")
            await asyncio.sleep(1.1)  # another second for the timestamp
            await hurry(mine)
            await job_when(mine, waits(2))
            assert (await read(mine, webhook))["last_status"] == 404
            await hurry(mine)
            assert (await job_when(mine, ended))["state"] == "done"
            arrivals = await receiver.got(3)
        assert len({arrival.headers["webhook-id"] for arrival in arrivals}) == 1
        assert len({arrival.body for arrival in arrivals}) == 1
        assert int(arrivals[0].headers["webhook-timestamp"]) < int(arrivals[1].headers["webhook-timestamp"])
        assert all(genuine(webhook["secret"], arrival) for arrival in arrivals)
        state = await read(mine, webhook)
        assert (state["last_status"], state["last_error"]) == (200, None)

    async def test_after_a_refused_connection(self, mine: Tenant) -> None:
        port = free_port()
        webhook = await create(mine, f"http://127.0.0.1:{port}/hook")
        await happens(mine)
        assert (await job_when(mine, waits(1)))["error_code"] == "webhook_unreachable"
        state = await read(mine, webhook)
        assert (state["last_status"], state["last_error"]) == (None, "webhook_unreachable")
        with receiving(port=port) as receiver:
            await hurry(mine)
            await receiver.got()
            assert (await job_when(mine, ended))["state"] == "done"

    async def test_pauses_grow_to_hours(self, mine: Tenant) -> None:
        """From the second that a first pause may take to those of the seventh."""
        with receiving(*[500] * 8) as receiver:
            await create(mine, receiver.url())
            await happens(mine)
            pauses = []
            for attempt in range(1, 8):
                job = await job_when(mine, waits(attempt))
                async with mine.runtime.owner.connect() as connection:
                    left = text("SELECT extract(epoch FROM run_at - now())::float8 FROM jobs WHERE id = :id")
                    pauses.append((await connection.execute(left, {"id": job["id"]})).scalar_one())
                await hurry(mine)
            assert all(pause <= 60 * 2**attempt for attempt, pause in enumerate(pauses, start=1))
            assert max(pauses) > 120  # all seven short by chance: once in two million runs
            job = await job_when(mine, ended)
            assert (job["state"], job["error_code"]) == ("dead", "webhook_status")
            await receiver.got(8)

    async def test_a_redirect_is_a_failure_and_not_followed(self, mine: Tenant) -> None:
        for status in (301, 302, 303, 307, 308):
            async with tenant_of(mine.service) as tenant:
                with receiving() as inner, receiving(status) as receiver:
                    receiver.location = inner.url("/latest/meta-data")
                    webhook = await create(tenant, receiver.url())
                    await happens(tenant)
                    await job_when(tenant, waits(1))
                    await receiver.got()
                    assert inner.arrivals == []
                assert (await read(tenant, webhook))["last_status"] == status

    async def test_gone_removes_the_webhook_and_ends_its_other_jobs(self, mine: Tenant) -> None:
        with receiving(500, 410) as receiver:
            webhook = await create(mine, receiver.url())
            await happens(mine)
            first = await job_when(mine, waits(1))
            await happens(mine)
            await receiver.got(2)
            async with asyncio.timeout(30):
                while (await mine.http.get(f"{WEBHOOKS}/{webhook['id']}")).status_code != 404:
                    await asyncio.sleep(0.02)
            await hurry(mine)
            async with asyncio.timeout(30):
                while {job["state"] for job in await jobs(mine)} != {"done"}:
                    await asyncio.sleep(0.02)
            await receiver.got(2)
            assert first["id"] in {job["id"] for job in await jobs(mine)}

    async def test_a_deleted_webhook_hears_no_more(self, mine: Tenant) -> None:
        with receiving(500) as receiver:
            webhook = await create(mine, receiver.url())
            await happens(mine)
            await job_when(mine, waits(1))
            assert (await mine.http.delete(f"{WEBHOOKS}/{webhook['id']}")).status_code == 204
            await hurry(mine)
            job = await job_when(mine, ended)
            assert (job["state"], job["error_code"]) == ("done", None)
            await receiver.got(1)

    async def test_receivers_that_fail_stand_behind_documents(self, mine: Tenant) -> None:
        with receiving(500) as receiver:
            await create(mine, receiver.url())
            await happens(mine)
            await job_when(mine, waits(1))
            await happens(mine)
            prompt, late = (job["priority"] for job in await jobs(mine))
        assert prompt < 100 < late


class TestTransaction:
    async def test_what_is_rolled_back_is_not_told(self, mine: Tenant) -> None:
        class CrashError(Exception):
            pass

        with receiving() as receiver:
            await create(mine, receiver.url())
            document = await happens(mine)
            await receiver.got()
            with pytest.raises(CrashError):
                async with mine.runtime.uow(mine.caller) as uow:
                    changed = await uow.documents.update(document.id, 1, {"status": "failed"})
                    assert changed is not None
                    await announce(uow, changed, "document.failed")
                    raise CrashError
            assert len(await jobs(mine)) == 1

    async def test_what_is_stored_is_told_after_a_restart(self, postgres: URL, tmp_path: Path) -> None:
        settings = make_settings(
            database_url=await make_database(postgres, "test_webhooks_restart"),
            data_dir=tmp_path,
            webhook_allowed_hosts="127.0.0.1",
            worker_in_process=False,
        )
        with receiving() as receiver:
            async with serving(settings) as (address, runtime), tenant_of(Service(address, runtime)) as tenant:
                webhook = await create(tenant, receiver.url())
                document = await happens(tenant)
                (job,) = await jobs(tenant)
                assert (job["state"], job["payload"]["data"]["document_id"]) == ("queued", str(document.id))
                writers = text("""
                    SELECT d.xmin::text, j.xmin::text FROM documents d, jobs j WHERE d.id = :document AND j.id = :job
                """)
                async with runtime.owner.connect() as connection:
                    found = await connection.execute(writers, {"document": document.id, "job": job["id"]})
                    assert len(set(found.one())) == 1  # one transaction
            assert receiver.arrivals == []
            async with serving(settings.model_copy(update={"worker_in_process": True})):
                (arrival,) = await receiver.got()
        assert genuine(webhook["secret"], arrival)


class TestTarget:
    async def test_a_name_that_moves_into_the_private_network_is_refused(
        self, mine: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, addresses = socket.getaddrinfo, ["1.1.1.1"]

        def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
            if host == "moves.example":
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]
            return [*real(host, port, *args, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with receiving(host="127.0.0.2") as receiver:
            webhook = await create(mine, receiver.url(host="moves.example"))
            addresses[:] = ["127.0.0.2"]
            await happens(mine)
            assert (await job_when(mine, waits(1)))["error_code"] == "webhook_target_refused"
            assert receiver.arrivals == []
        state = await read(mine, webhook)
        assert (state["last_status"], state["last_error"]) == (None, "webhook_target_refused")


async def test_secrets_are_in_no_log(mine: Tenant) -> None:
    with receiving(500) as receiver, watched_logs() as (events, records):
        webhook = await create(mine, receiver.url("/path-of-theirs"))
        await happens(mine)
        await job_when(mine, waits(1))
        await hurry(mine)
        await job_when(mine, ended)
    said = repr(events) + repr(records)
    assert "webhook.delivered" in said
    assert "job.failed" in said
    assert "whsec_" not in said
    assert webhook["secret"].removeprefix("whsec_") not in said
    assert "path-of-theirs" not in said


async def test_an_upload_is_told_of(mine: Tenant) -> None:
    with receiving() as receiver:
        webhook = await create(mine, receiver.url())
        ready = await mine.add_text("The wombat sleeps in the blue shed.", external_id="shed")
        response = await mine.http.post("/api/v1/documents", files={"file": ("broken.pdf", b"%PDF-1.7\nbroken")})
        failed = await mine.ended(response.json()["id"])
        assert (ready["status"], failed["status"]) == ("ready", "failed")
        arrivals = await receiver.got(2)
    assert all(genuine(webhook["secret"], arrival) for arrival in arrivals)
    told = {message["type"]: message["data"] for message in (json.loads(arrival.body) for arrival in arrivals)}
    assert told["document.ready"]["document_id"] == ready["id"]
    assert told["document.ready"]["external_id"] == "shed"
    assert told["document.ready"]["chunks"] == ready["chunks"] > 0
    assert told["document.failed"]["document_id"] == failed["id"]
    assert told["document.failed"]["error_code"] == failed["error"]["code"]


class TestPage:
    @pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
    async def test_create(self, mine: Tenant) -> None:
        script = block("create").replace("localhost:8000", mine.service.address)
        program = ["bash", "-euo", "pipefail", "-c", script]
        environment = {"PATH": os.environ["PATH"], "KEY": mine.key}
        done = await asyncio.to_thread(
            subprocess.run, program, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["secret"].startswith("whsec_")
        assert (await mine.http.get(WEBHOOKS)).json()["total"] == 1

    async def test_message_and_verify(self, mine: Tenant) -> None:
        page: dict[str, Any] = {}
        exec(block("verify"), page)  # noqa: S102 - the page's own code
        verify = page["verify"]
        with receiving() as receiver:
            webhook = await create(mine, receiver.url())
            await happens(mine)
            (arrival,) = await receiver.got()
        verify(webhook["secret"], arrival.headers, arrival.body)
        shown, sent = json.loads(block("message")), json.loads(arrival.body)
        assert shown.keys() == sent.keys()
        assert shown["data"].keys() == sent["data"].keys()
        with pytest.raises(ValueError, match="not from"):
            verify(webhook["secret"], arrival.headers, arrival.body + b" ")
        with pytest.raises(ValueError, match="not from"):
            verify(webhook["secret"], arrival.headers | {"webhook-id": str(new_id())}, arrival.body)
        old = str(int(time.time()) - 3600)
        headers = {
            "webhook-id": "a",
            "webhook-timestamp": old,
            "webhook-signature": signature(webhook["secret"], "a", old, arrival.body),
        }
        with pytest.raises(ValueError, match="old"):
            verify(webhook["secret"], headers, arrival.body)

    def test_numbers(self) -> None:
        """Every code block is one of those above, and the page's numbers are the program's."""
        from app.providers import webhooks as provider
        from app.services import webhooks as service

        assert PAGE.count("```") == 2 * PAGE.count("<!-- run: ") == 6
        assert f"A tenant may have {service.MOST_WEBHOOKS}." in PAGE
        assert f": {service.ATTEMPTS} attempts" in PAGE
        assert f"within {provider.TOTAL_SECONDS:.0f} seconds" in PAGE
