"""A service at DEBUG with words planted in everything that is sent to it: none of them is printed (P: logs)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest
import websockets
from sqlalchemy import URL

from app.core.log_fields import FIELDS, LEFT_OUT, UNFIT
from app.core.security import new_key
from tests.api.test_hostile_tools import raw, request
from tests.conftest import make_database
from tests.integration.processes import Child, Place, ended, free_port, place, spelled
from tests.stand_in import ENVIRONMENT, StandIn, stand_in

__all__ = ["stand_in"]
KEY = new_key()
MODES = ("echo", "garbage", "invalid", "error-mid", "bad-crc")
STANDARD = {"event", "level", "logger", "timestamp", "request_id", "error", "said"}


class Planted:
    """Words that are nowhere else; each tells where it was planted."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, where: str) -> str:
        word = f"zqx{where}canary"
        self.words.append(word)
        return word


@pytest.fixture(scope="module")
async def here(postgres: URL, stand_in: StandIn) -> AsyncIterator[Place]:
    url = await make_database(postgres, "test_logs")
    async with place(
        api_key=KEY, database_url=url, log_level="DEBUG", log_format="json", llm_provider="openai",
        openai_base_url=stand_in.openai_url, openai_model="planted", openai_api_key="zqxproviderkeycanary",
        webhook_allowed_hosts="127.0.0.1", **ENVIRONMENT,
    ) as made:  # fmt: skip
        yield made


async def test_nothing_that_was_sent_is_printed(here: Place, stand_in: StandIn) -> None:
    service, plant = await here.serve(), Planted()
    async with here.client() as http, asyncio.timeout(90):
        await credentials(here, plant)
        await heads(here, http, plant)
        await bodies(http, plant)
        await documents(http, plant)
        session = (await http.post("/api/v1/sessions", json={"user_id": plant("user")})).json()["id"]
        await questions(http, stand_in, session, plant)
        await frames(here, session, plant)
        await webhooks(http, plant)
        database = await a_fault(here, http, session, plant)
    assert await service.stop() == 0
    assert "violates check constraint" in database
    printed = service.out + service.err + database
    assert [word for word in [*plant.words, KEY, "zqxproviderkeycanary"] if word.lower() in printed.lower()] == []
    check_lines(service)


async def credentials(here: Place, plant: Planted) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{here.port}") as http:
        for headers in (
            {"X-API-Key": plant("apikey")},
            {"Authorization": f"Bearer {plant('bearer')}"},
            {"Authorization": f"Basic {plant('basic')}"},
            {"X-API-Key": plant("one"), "Authorization": f"Bearer {plant('other')}"},
        ):
            assert (await http.get("/api/v1/sessions", headers=headers)).status_code in (400, 401)
        assert (await http.get("/api/v1/sessions", params={"token": plant("urltoken")})).status_code == 401


async def heads(here: Place, http: httpx.AsyncClient, plant: Planted) -> None:
    await http.get("/api/v1/sessions", params={"q": plant("query"), plant("parameter"): "1", "limit": plant("limit")})
    await http.get(f"/api/v1/sessions/{plant('path')}")
    await http.get(f"/{plant('nowhere')}", params={"x": f"{plant('ansi')}\x1b[31m\nERROR"})
    names = ("User-Agent", "Referer", "Cookie", "Origin", "X-Forwarded-For", "Accept", "If-Match", "Range")
    await http.get("/api/v1/documents", headers={name: plant(name.replace("-", "").lower()) for name in names})
    await http.get("/livez", headers={"X-Request-ID": f"not one {plant('requestid')}"})
    address = f"127.0.0.1:{here.port}"
    for line in (f"{plant('method').upper()} / HTTP/1.1", f"GET / {plant('version')}", plant("garbage")):
        with contextlib.suppress(OSError, EOFError):
            await raw(address, f"{line}\r\nHost: {plant('host')}\r\n\r\n".encode())
    await raw(address, request("GET", "/", None, Host=f"{plant('badhost')}?"))


async def bodies(http: httpx.AsyncClient, plant: Planted) -> None:
    headers = {"Content-Type": "application/json"}
    key = {"Idempotency-Key": plant("idempotency")}
    sent = [
        await http.post("/api/v1/sessions", content=f'{{"user_id": "{plant("notjson")}', headers=headers),
        await http.post("/api/v1/sessions", json={"user_id": {"a": plant("wrongtype")}}),
        await http.post("/api/v1/sessions", json={"user_id": "a", plant("unknownfield"): 1}),
        await http.post("/api/v1/sessions", json={"user_id": "a", "title": f"{plant('nul')}\0"}),
        await http.post("/api/v1/search", json={"query": plant("search"), "top_k": plant("topk")}),
        await http.post("/api/v1/search", json={"query": plant("found")}),
        await http.post("/api/v1/sessions", json={"user_id": "a", "title": f"{plant('title')}\nERROR"}, headers=key),
        await http.post("/api/v1/sessions", json={"user_id": "a", "title": plant("reused")}, headers=key),
        await http.post("/v1/chat/completions", json={"model": plant("model"), "messages": []}),
        await http.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": plant("embedded")}),
    ]
    assert [answer.status_code for answer in sent[:8]] == [400, 400, 400, 400, 400, 200, 201, 422]


async def documents(http: httpx.AsyncClient, plant: Planted) -> None:
    made = []
    for name, data in (
        (f"{plant('filename')}.txt", f"{plant('text')} is what it says."),
        (f"{plant('pdfname')}.pdf", f"%PDF-1.4 {plant('pdf')} 1 0 obj << /Length 99 >> stream"),
        (f"{plant('htmlname')}.html", f"<html><title>{plant('htmltitle')}</title><p>{plant('html')}</html>"),
        (f"{plant('csvname')}.csv", f"a,b\n{plant('csv')},1\n"),
        (f"{plant('exe')}.exe", plant("program")),
    ):
        answer = await http.post(
            "/api/v1/documents", files={"file": (name, data.encode())}, data={"title": plant("named")}
        )
        made += [answer.json()["id"]] if answer.status_code == 202 else []
    made.append((await http.post("/api/v1/documents", json={"title": "a", "text": plant("plain")})).json()["id"])
    states = [(await ended(http, id_))["status"] for id_ in made]
    assert states.count("ready") >= 3
    broken = {"Content-Type": f"multipart/form-data; boundary={plant('boundary')}"}
    await http.post("/api/v1/documents", content=f"--{plant('part')}\r\n\r\n{plant('form')}", headers=broken)


async def questions(http: httpx.AsyncClient, stand_in: StandIn, session: str, plant: Planted) -> None:
    for mode in MODES:
        stand_in.set_mode("planted", mode)
        ask = {"message": f"What is {plant(f'question{mode}')}?"}
        await http.post(f"/api/v1/sessions/{session}/chat", json=ask)
        await http.post(f"/api/v1/sessions/{session}/chat/stream", json=ask)
    assert stand_in.count("planted") > len(MODES)
    message = {"sender": "user", "content": plant("stored"), "context_metadata": {"a": plant("metadata")}}
    assert (await http.post(f"/api/v1/sessions/{session}/messages", json=message)).status_code == 201


async def frames(here: Place, session: str, plant: Planted) -> None:
    url = f"ws://127.0.0.1:{here.port}/chat/{session}?token={plant('socketquery')}"
    async with websockets.connect(url, additional_headers={"X-API-Key": KEY}) as socket:
        for frame in (
            plant("frame"),
            json.dumps({"type": plant("frametype")}),
            json.dumps({"type": "user_message", "content": [plant("framecontent")]}),
            json.dumps({"type": "user_message", "content": plant("asked"), "id": plant("frameid")}),
        ):
            await socket.send(frame)
        while json.loads(await socket.recv())["type"] != "done":
            pass
        await socket.send(plant("utf8").encode() + b"\xff", text=True)
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(url, subprotocols=[websockets.Subprotocol(f"bearer.{plant('subprotocol')}")])


async def webhooks(http: httpx.AsyncClient, plant: Planted) -> None:
    """To where nobody listens; a document that is ready makes the service call."""
    url = f"http://127.0.0.1:{free_port()}/{plant('hookpath')}?secret={plant('hooksecret')}"
    made = (await http.post("/api/v1/webhooks", json={"url": url})).json()
    plant.words.append(made["secret"])
    added = await http.post("/api/v1/documents", json={"title": plant("announced"), "text": "Told to others."})
    await ended(http, added.json()["id"])
    async with asyncio.timeout(20):
        while (await http.get(f"/api/v1/webhooks/{made['id']}")).json()["last_error"] is None:
            await asyncio.sleep(0.1)
    await http.post("/api/v1/webhooks", json={"url": f"ftp://{plant('badhook')}"})


async def a_fault(here: Place, http: httpx.AsyncClient, session: str, plant: Planted) -> str:
    """Of ours: a rule that nobody knew of. The driver's message holds the whole row. Gives the database's log."""
    url = here.environment()["DATABASE_URL"]
    messages = (await http.get(f"/api/v1/sessions/{session}/messages", params={"order": "desc"})).json()["items"]
    answer = next(message["id"] for message in messages if message["sender"] == "assistant")
    connection = await asyncpg.connect(spelled(url, "postgresql"))
    try:
        folder = Path(await connection.fetchval("SHOW data_directory"))
        await connection.execute("ALTER TABLE feedback ADD CHECK (comment IS NULL) NOT VALID")
    finally:
        await connection.close()
    rated = await http.put(f"/api/v1/messages/{answer}/feedback", json={"rating": "up", "comment": plant("comment")})
    assert rated.status_code == 500
    return (folder / "log").read_text()


def check_lines(service: Child) -> None:
    lines = [json.loads(line) for line in service.err.splitlines()]
    events = {line["event"] for line in lines}
    assert {"request", "request.failed", "document.ready", "job.rejected", "llm.failed"} <= events
    assert all(set(line) <= STANDARD | set(FIELDS) for line in lines)
    assert LEFT_OUT not in service.err
    assert UNFIT not in service.err
    faults = [line for line in lines if line["event"] == "request.failed"]
    assert any("CheckViolationError" in part for line in faults for part in line["error"])
