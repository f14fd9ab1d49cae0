"""An erased user leaves no trace in a dump and in the storage, but audit rows without content; others lose nothing."""

import asyncio
import json
from typing import Any

import httpx
from sqlalchemy import URL

from app.core.ids import new_id
from tests.conftest import make_database
from tests.integration.processes import Place, ended, place, rows
from tests.integration.test_deletes import dump, stored_bytes

NAME = "vasundhara.qx"
QUESTION = "How often is the Qorvexil pump serviced by the harbour crew?"
COMMENT = "The zanthopyre answer is wrong."
TITLE = "About brelmontic"
NOTE = {"note": "ulvaranth"}
SAID = ("Qorvexil", "zanthopyre", "brelmontic", "ulvaranth")
EMAIL, DISPLAY_NAME, PASSWORD = "mirquodel@harbour.example", "Thessaliff Mirquodel", "correct horse battery"
FILE_NAME, FILE_TITLE, KEY_NAME = "wexlorpin-payslip.txt", "jundrabel payslip", "ospreydane laptop"
FILE = (
    "The Kestrivane seals are renewed every ninety days by the night shift. "
    "The spare ones are kept in the green cabinet beside the boiler. "
) * 3
IN_FILE = "Kestrivane"
ACCOUNT = ("mirquodel", "Thessaliff", "wexlorpin", "jundrabel", "ospreydane", IN_FILE)
WORKER_OFF = {"worker_in_process": "false"}


def found(words: tuple[str, ...], url: str) -> set[str]:
    text = dump(url)
    return {word for word in words if word in text}


async def talk(
    http: httpx.AsyncClient, user: str, question: str, *, comment: str = COMMENT, **fields: Any
) -> dict[str, Any]:
    """A session with an answer that was rated, each made under an idempotency key."""
    headers = {"Idempotency-Key": f"session-of-{user}"}
    made = await http.post("/api/v1/sessions", json={"user_id": user} | fields, headers=headers)
    assert made.status_code == 201, made.text
    session = made.json()["id"]
    headers = {"Idempotency-Key": f"chat-of-{user}"}
    answer = await http.post(f"/api/v1/sessions/{session}/chat", json={"message": question}, headers=headers)
    assert answer.status_code == 200, answer.text
    rating = {"rating": "down", "comment": comment}
    assert (await http.put(f"/api/v1/messages/{answer.json()['id']}/feedback", json=rating)).status_code == 200
    return {"session": session, **answer.json()}


async def done(http: httpx.AsyncClient, receipt: str, seconds: float = 45) -> dict[str, Any]:
    """The receipt, once all is gone; without any credential."""
    async with asyncio.timeout(seconds):
        while True:
            response = await http.get(receipt)
            assert response.status_code == 200, response.text
            told: dict[str, Any] = response.json()
            if told["status"] == "done":
                return told
            await asyncio.sleep(0.1)


def stranger(here: Place) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{here.port}", timeout=30)


async def test_a_user_that_a_calling_system_names(postgres: URL) -> None:
    url = await make_database(postgres, "test_erase_named")
    async with place(database_url=url) as here:
        await here.serve()
        async with here.client() as http, stranger(here) as nobody:
            pump = {"title": "pumps", "text": "A pump is serviced every forty days by the harbour crew."}
            await ended(http, (await http.post("/api/v1/documents", json=pump)).json()["id"])
            gone = await talk(http, NAME, QUESTION, title=TITLE, metadata=NOTE)
            kept = await talk(http, "ravi", "How often is a pump serviced?", comment="fine")
            before = (await http.get(f"/api/v1/sessions/{kept['session']}/messages")).json()
            assert found((NAME, *SAID), url) == {NAME, *SAID}, "they must be there, or this proves nothing"

            asked = await http.delete(f"/api/v1/users/{NAME}")
            assert asked.status_code == 202, asked.text
            assert asked.headers["location"] == asked.json()["receipt_url"]
            told = await done(nobody, asked.json()["receipt_url"])
            counts = {"sessions": 1, "messages": 2, "feedback": 1, "turns": 1, "idempotency_keys": 2}
            assert {name: told["counts"][name] for name in counts} == counts
            assert NAME not in json.dumps(told)
            assert found((NAME, *SAID), url) == set()
            assert (await http.get(f"/api/v1/sessions/{gone['session']}")).status_code == 404
            assert (await http.get(f"/api/v1/sessions/{kept['session']}/messages")).json() == before
            assert len(await rows(url, "SELECT 1 FROM idempotency_keys")) == 2
            assert (await http.delete(f"/api/v1/users/{NAME}")).status_code == 404
            assert (await http.get("/api/v1/erasures")).json()["items"] == [told]

            # the calling system may come back with the same name
            again = await http.post("/api/v1/sessions", json={"user_id": NAME})
            assert again.status_code == 201


LEDGER = """
INSERT INTO usage_records (id, tenant_id, user_id, model, input_tokens, output_tokens, cost)
SELECT $1, tenant_id, id::text, 'openai/gpt', 100, 20, 0.5 FROM users WHERE id = $2
"""
COUNTER = """
INSERT INTO budgets (tenant_id, scope, scope_id, period, starts_on, used_tokens)
SELECT tenant_id, 'user', id::text, 'day', CURRENT_DATE, 120 FROM users WHERE id = $1
"""
DELIVERY = """
INSERT INTO jobs (id, tenant_id, kind, payload, run_at)
SELECT $1::uuid, tenant_id, 'webhook.deliver', jsonb_build_object('webhook_id', $1::uuid::text, 'data',
    jsonb_build_object('document_id', id::text, 'external_id', 'wexlorpin-7')), now() + interval '1 hour'
FROM documents WHERE id = $2
"""


async def log_in(http: httpx.AsyncClient) -> dict[str, str]:
    login = await http.post("/api/v1/auth/login", json={"email": EMAIL, "password": PASSWORD})
    assert login.status_code == 200, login.text
    return dict(login.json())


async def test_an_account(postgres: URL) -> None:
    """With a document that somebody else's answer quotes, keys, tokens, usage, a delivery that waits."""
    url = await make_database(postgres, "test_erase_account")
    async with place(database_url=url) as here:
        await here.serve()
        async with here.client() as http, stranger(here) as nobody, stranger(here) as person:
            account = {"email": EMAIL, "password": PASSWORD, "display_name": DISPLAY_NAME}
            id_ = (await nobody.post("/api/v1/auth/register", json=account)).json()["id"]
            tokens = await log_in(nobody)
            person.headers["Authorization"] = f"Bearer {tokens['access_token']}"
            made = await http.post("/api/v1/api-keys", json={"name": KEY_NAME, "scopes": ["chat"]})
            key = made.json()["key"]
            await rows(url, "UPDATE api_keys SET created_by = $1 WHERE name = $2", id_, KEY_NAME)
            files = {"file": (FILE_NAME, FILE.encode())}
            sent = await person.post("/api/v1/documents", files=files, data={"title": FILE_TITLE})
            document = sent.json()["id"]
            assert (await ended(http, document))["status"] == "ready"
            await talk(person, id_, QUESTION, title=TITLE, metadata=NOTE)
            about = {"user_id": "ravi"}
            other = (await http.post("/api/v1/sessions", json=about)).json()["id"]
            asked = {"message": "How often are the seals renewed?", "document_ids": [document]}
            quoted = (await http.post(f"/api/v1/sessions/{other}/chat", json=asked)).json()
            assert IN_FILE in quoted["content"], "the answer must quote the document, or this proves nothing"
            await rows(url, LEDGER, new_id(), id_)
            await rows(url, COUNTER, id_)
            await rows(url, DELIVERY, new_id(), document)
            assert found((*SAID, *ACCOUNT), url) == {*SAID, *ACCOUNT}
            assert IN_FILE.encode() in stored_bytes(here.data / "files")

            folder = here.folder / "files of a person"
            exported = await here.run("export", "--user", id_, "--files", str(folder))
            assert json.loads(exported.out)["documents"][0]["id"] == document
            assert (folder / f"{document}.txt").read_text() == FILE

            response = await person.delete("/api/v1/auth/me")
            assert response.status_code == 202, response.text
            assert (await person.get("/api/v1/auth/me")).status_code == 401
            refresh = {"refresh_token": tokens["refresh_token"]}
            assert (await nobody.post("/api/v1/auth/refresh", json=refresh)).status_code == 401
            assert (await nobody.get("/api/v1/sessions", headers={"X-API-Key": key})).status_code == 401
            counts = (await done(nobody, response.json()["receipt_url"]))["counts"]
            expected = {"users": 1, "refresh_tokens": 1, "api_keys": 1, "documents": 1, "files": 1, "usage_records": 1}
            assert {name: counts[name] for name in expected} == expected
            assert counts["chunks"] >= 1
            assert counts["jobs"] >= 2
            _assert_no_trace(url, here, id_)
            kept = (await http.get(f"/api/v1/sessions/{other}/messages")).json()["items"]
            assert kept[0]["content"] == asked["message"]
            assert "█" in kept[1]["content"] or "▇" in kept[1]["content"]
            ledger = await rows(url, "SELECT user_id, input_tokens, cost FROM usage_records")
            assert [(row["user_id"], row["input_tokens"], float(row["cost"])) for row in ledger] == [
                ("(erased)", 100, 0.5)
            ]


def _assert_no_trace(url: str, here: Place, user_id: str) -> None:
    """The id stays in the audit log, which says that there was an erasure, and of whom."""
    lines = dump(url).splitlines()
    words = (*SAID, *ACCOUNT, EMAIL)
    assert not [line for line in lines if any(word.lower() in line.lower() for word in words)]
    naming = {line.split()[2] for line in lines if user_id in line}
    assert naming == {"public.audit_log"}
    everything = stored_bytes(here.data / "files")
    assert not [word for word in (*words, user_id) if word.encode() in everything]


MANY = """
WITH made AS (
    INSERT INTO chat_sessions (id, tenant_id, user_id, title)
    SELECT gen_random_uuid(), (SELECT id FROM tenants LIMIT 1), $1, $2 || n FROM generate_series(1, $3::int) AS n
    RETURNING id, tenant_id
)
INSERT INTO messages (id, tenant_id, session_id, seq, sender, content)
SELECT gen_random_uuid(), tenant_id, id, seq, 'user', $2 FROM made, generate_series(1, 20) AS seq
"""


async def test_a_worker_that_is_killed_in_the_middle(postgres: URL) -> None:
    """Whoever goes on counts nothing twice."""
    url = await make_database(postgres, "test_erase_killed")
    many = 2_000
    async with place(database_url=url) as here:
        service = await here.serve(**WORKER_OFF)
        async with here.client() as http, stranger(here) as nobody:
            await rows(url, MANY, NAME, "Qorvexil", many)
            await rows(url, MANY, "ravi", "mine", 3)
            for n in range(12):
                text = {"title": f"note {n}", "text": f"{n} {FILE}"}
                await http.post("/api/v1/documents", json=text)
            await rows(url, "UPDATE documents SET owner_id = $1", NAME)
            receipt = (await http.delete(f"/api/v1/users/{NAME}")).json()["receipt_url"]

            worker = await here.start("worker")
            async with asyncio.timeout(60):
                while not (await http.get("/api/v1/erasures")).json()["items"][0]["counts"].get("sessions"):
                    await asyncio.sleep(0.01)
            await worker.kill()
            half = (await nobody.get(receipt)).json()
            assert half["status"] == "erasing"
            assert 0 < half["counts"]["sessions"] < many
            await rows(url, "UPDATE jobs SET lease_until = now() WHERE state = 'running'")  # 15 seconds later
            worker = await here.start("worker")
            told = await done(nobody, receipt)
            assert (told["counts"]["sessions"], told["counts"]["messages"]) == (many, 20 * many)
            assert (told["counts"]["documents"], told["counts"]["files"]) == (12, 12)
            assert found((NAME, "Qorvexil", IN_FILE), url) == set()
            assert stored_bytes(here.data / "files") == b""
            assert len(await rows(url, "SELECT 1 FROM chat_sessions")) == 3
            assert (await rows(url, "SELECT max(attempts) AS most FROM jobs WHERE kind = 'user.erase'"))[0]["most"] == 2
            await worker.stop()
        await service.stop()


async def test_a_turn_that_runs_is_stopped_first(postgres: URL) -> None:
    url = await make_database(postgres, "test_erase_running")
    async with place(database_url=url) as here:
        await here.serve_slowly()
        async with here.client() as http, stranger(here) as nobody:
            session = (await http.post("/api/v1/sessions", json={"user_id": NAME})).json()["id"]
            question = {"message": "count 600 at 50"}
            path = f"/api/v1/sessions/{session}/chat/stream"
            async with http.stream("POST", path, json=question | {"use_rag": False}) as stream:
                lines = stream.aiter_lines()
                async for line in lines:
                    if '"delta"' in line:
                        break
                receipt = (await http.delete(f"/api/v1/users/{NAME}")).json()["receipt_url"]
                told = await done(nobody, receipt, seconds=20)
                rest = [line async for line in lines]
            assert any('"cancelled"' in line for line in rest)
            assert told["counts"]["turns"] == 1
            assert found((NAME, "count 600", "w1 w2"), url) == set()


async def test_on_the_command_line(postgres: URL) -> None:
    url = await make_database(postgres, "test_erase_cli")
    async with place(database_url=url) as here:
        assert (await here.run("migrate")).code == 0
        await rows(url, MANY, NAME, "Qorvexil", 2)
        exported = await here.run("export", "--user", NAME)
        assert exported.code == 0, exported.err
        told = json.loads(exported.out)
        assert [len(session["messages"]) for session in told["sessions"]] == [20, 20]
        assert [event["actor"] for event in told["events"]] == ["command line"]
        for command in (("export",), ("erase", "--yes")):
            nobody = await here.run(*command, "--user", NAME + "x")
            assert (nobody.code, nobody.out, nobody.err) == (2, "", "user_not_found: There is no such user.\n")
        assert (await here.run("audit", "--user", NAME + "x", "--json")).out == ""
        refused = await here.run("erase", "--user", NAME)
        assert (refused.code, refused.err) == (2, "nothing was erased; --yes does it without asking\n")
        done = await here.run("erase", "--user", NAME, "--yes", "--json")
        assert done.code == 0, done.err
        assert NAME not in done.out
        assert json.loads(done.out)["counts"] == {"sessions": 2, "messages": 40}
        assert found((NAME, "Qorvexil"), url) == set()
        audit = await here.run("audit", "--user", NAME, "--json")
        assert [(line["action"], line["actor"]) for line in audit.lines] == [
            ("user.erased", "service"), ("user.erase", "command line"), ("user.export", "command line")
        ]  # fmt: skip
