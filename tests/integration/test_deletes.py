"""P9: what is deleted is gone, wherever somebody looks for it; also while it is being indexed or cited."""

import asyncio
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, text

from app.db.embedded import programs
from tests.conftest import Tenant, make_database
from tests.integration.processes import ended, place, rows, spelled

CANARY = "Zyxwvutq"
SECRET = (
    f"The {CANARY} pump is serviced every forty days by the harbour crew. "
    "The spare seals are kept in the green cabinet beside the boiler. "
) * 3
KEPT = "The canteen opens at eight in the morning and serves breakfast until ten."
SEED = 7_411


def dump(url: str) -> str:
    """All rows of the database as pg_dump writes them."""
    command = [str(programs() / "pg_dump"), "--data-only", "--inserts", "--dbname", spelled(url, "postgresql")]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def stored_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def ask(http: Any, session: str, question: str) -> dict[str, Any]:
    response = await http.post(f"/api/v1/sessions/{session}/chat", json={"message": question})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def quiet(url: str) -> None:
    """Until no job is left that is due."""
    async with asyncio.timeout(30):
        while await rows(url, "SELECT 1 FROM jobs WHERE state IN ('queued', 'running') AND run_at <= now()"):
            await asyncio.sleep(0.05)


async def test_nothing_of_a_deleted_document_is_left(postgres: URL) -> None:
    url = await make_database(postgres, "test_canary")
    async with place(database_url=url) as here:
        service = await here.serve()
        async with here.client() as http:
            name = f"{CANARY}-manual.txt"
            files = {"file": (name, SECRET.encode())}
            first = await http.post("/api/v1/documents", files=files, data={"title": f"{CANARY} manual"})
            doomed = first.json()["id"]
            await http.post("/api/v1/documents", json={"title": "canteen", "text": KEPT})
            assert (await ended(http, doomed))["status"] == "ready"
            session = (await http.post("/api/v1/sessions", json={"user_id": "ravi"})).json()["id"]
            answer = await ask(http, session, "How often is the pump serviced by the harbour crew?")
            assert CANARY in json.dumps(answer), "the answer must quote the document, or this proves nothing"
            assert CANARY in dump(url)
            assert CANARY.encode() in stored_bytes(here.data / "files")

            assert (await http.delete(f"/api/v1/documents/{doomed}")).status_code == 204
            for path in ("", "/chunks", "/content", "/events"):
                assert (await http.get(f"/api/v1/documents/{doomed}{path}")).status_code == 404
            found = await http.post("/api/v1/search", json={"query": "pump serviced harbour crew", "top_k": 20})
            assert CANARY not in found.text
            assert CANARY not in (await http.get("/api/v1/documents")).text
            history = (await http.get(f"/api/v1/sessions/{session}/messages")).json()
            assert CANARY not in json.dumps(history)
            old = next(item for item in history["items"] if item["sender"] == "assistant")
            assert old["sources"][0]["document_id"] == doomed
            assert (old["sources"][0]["text"], old["sources"][0]["title"]) == (None, "(deleted document)")
            replayed = await http.get(f"/api/v1/turns/{answer['turn_id']}/events")
            assert CANARY not in replayed.text
            assert "forty days" not in replayed.text
            again = await ask(http, session, "How often is the pump serviced?")
            assert CANARY not in json.dumps(again)
            await quiet(url)
            assert CANARY not in dump(url)
            assert CANARY.encode() not in stored_bytes(here.data / "files")
        await service.stop()
        assert CANARY not in service.out + service.err


async def test_an_answer_that_was_being_written_forgets_too(tenant: Tenant) -> None:
    """The document goes after the passages were found and before the answer is stored."""
    document = await tenant.add_text(SECRET, title=f"{CANARY} manual")
    session = await tenant.session()
    engine = tenant.runtime.owner
    async with tenant.http.stream(
        "POST", f"/api/v1/sessions/{session}/chat/stream", json={"message": "How often is the pump serviced?"},
        headers={"Accept": "text/event-stream"},
    ) as stream:  # fmt: skip
        async for line in stream.aiter_lines():
            if line == "event: sources":
                response = await tenant.http.delete(f"/api/v1/documents/{document['id']}")
                assert response.status_code == 204
    select = text("""
        SELECT m.content, coalesce(s.text, ''), s.title FROM messages m JOIN message_sources s ON s.message_id = m.id
        WHERE m.session_id = :session
        UNION ALL SELECT e.data::text, '', '' FROM turn_events e JOIN turns t ON t.id = e.turn_id
        WHERE t.session_id = :session
    """)
    async with engine.connect() as connection:
        stored = [*await connection.execute(select, {"session": session})]
    assert len(stored) > 3
    assert CANARY not in repr(stored)


@pytest.mark.parametrize("number", range(3))
async def test_deletes_at_random_moments_of_indexing_never_come_back(tenant: Tenant, number: int) -> None:
    chance = random.Random(SEED + number)
    ids = []
    for index in range(10):
        body = {"title": f"{index}", "text": f"{index} {CANARY} " + SECRET * 60}
        ids.append((await tenant.http.post("/api/v1/documents", json=body)).json()["id"])

    async def delete(id_: str) -> None:
        await asyncio.sleep(chance.uniform(0, 4))
        assert (await tenant.http.delete(f"/api/v1/documents/{id_}")).status_code == 204

    await asyncio.gather(*(delete(id_) for id_ in ids))
    tables = ("documents", "chunks", "chunk_embeddings", "jobs")
    due = {"jobs": "AND state IN ('queued', 'running')"}
    left = text(" UNION ALL ".join(f"SELECT tenant_id FROM {t} WHERE tenant_id = :t {due.get(t, '')}" for t in tables))
    async with asyncio.timeout(40), tenant.runtime.owner.connect() as connection:
        while (await connection.execute(left, {"t": tenant.caller.tenant_id})).first():
            await connection.rollback()
            await asyncio.sleep(0.2)
    dead = text("SELECT count(*) FROM jobs WHERE tenant_id = :t AND state = 'dead'")
    async with tenant.runtime.owner.connect() as connection:
        assert (await connection.execute(dead, {"t": tenant.caller.tenant_id})).scalar_one() == 0
    found = await tenant.http.post("/api/v1/search", json={"query": CANARY, "top_k": 50})
    assert found.json()["items"] == []
