"""Every command as a process: what it prints, where, and its exit code."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import URL

from app.db.migrate import head_revision
from tests.conftest import DOCUMENTS, ROOT, make_database
from tests.integration.processes import RAGCHAT, Done, Place, ended, place, rows

pytestmark = pytest.mark.xdist_group("command_line")
COMMANDS = (
    "serve", "worker", "migrate", "ingest", "search", "chat", "jobs", "verify", "spaces", "eval", "privacy", "doctor",
    "models", "probe", "prices", "usage",
)  # fmt: skip
QUESTION = "How many days of annual leave do employees get?"


@pytest.fixture(scope="module")
async def office() -> AsyncIterator[Place]:
    """A service that runs, and its data folder, which the commands share with it."""
    async with place() as made:
        await made.serve()
        folder = made.folder / "documents"
        (folder / ".hidden").mkdir(parents=True)
        (folder / "leave.md").write_text(
            "# Leave\n\nEmployees get 30 days of annual leave a year. Managers approve it.\n"
        )
        (folder / "copy of leave.md").write_bytes((folder / "leave.md").read_bytes())
        (folder / "crazyones.pdf").write_bytes((DOCUMENTS / "crazyones.pdf").read_bytes())
        (folder / ".hidden" / "secret.txt").write_text("Not for the index.")
        (folder / "picture.png").write_text("Not a document.")
        yield made


@pytest.fixture(scope="module")
async def indexed(office: Place) -> Done:
    return await office.run("ingest", "documents", "--json")


async def test_help_is_quick(here: Place) -> None:
    for arguments in ((), *((command,) for command in COMMANDS)):
        done = await here.run(*arguments, "--help")
        assert done.code == 0
        assert "Usage" in done.out
        assert done.err == ""
    assert min([(await here.run("probe")).seconds for _ in range(3)]) < 1
    assert not here.data.exists()


@pytest.mark.parametrize("module", ["commands", "probe", "serve"])
async def test_what_is_quick_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, app.cli.{module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, stdout=PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert not set(out.decode().split()) & {"fastapi", "uvicorn", "sqlalchemy", "alembic", "numpy", "openvino", "httpx"}


async def test_doctor_and_probe_before_anything_is_there(here: Place) -> None:
    done = await here.run("doctor")
    assert done.code == 0, done.out
    assert "NO" not in done.out
    assert "the first start makes it" in done.out
    assert done.err == ""
    assert not here.data.exists()
    for arguments in (("probe",), ("probe", "--worker")):
        done = await here.run(*arguments)
        assert (done.code, done.out, done.err) == (1, "not ready\n", "")


async def test_doctor_names_what_is_wrong_and_how_to_mend_it(here: Place) -> None:
    done = await here.run("doctor", "--json", database_url="postgresql://u:hush-hush@127.0.0.1:1/none")
    assert done.code == 1
    wrong = [finding for finding in json.loads(done.out) if not finding["works"] and not finding["optional"]]
    assert [(finding["name"], finding["fix"]) for finding in wrong] == [("database", "check DATABASE_URL")]
    assert "hush-hush" not in done.out + done.err


async def test_ingest_reports_each_document_and_works_beside_a_service(office: Place, indexed: Done) -> None:
    assert indexed.code == 0
    assert indexed.err == ""
    by_name = {Path(line["path"]).name: line for line in indexed.lines}
    assert sorted(by_name) == ["copy of leave.md", "crazyones.pdf", "leave.md"]
    assert {line["status"] for line in by_name.values()} == {"ready"}
    assert by_name["leave.md"]["id"] == by_name["copy of leave.md"]["id"]
    assert sum(line["already"] for line in by_name.values()) == 1

    again = await office.run("ingest", "documents")
    assert (again.code, again.out, again.err) == (0, "0 indexed, 3 there already, 0 failed\n", "")


async def test_ingest_says_what_could_not_be_indexed(office: Place) -> None:
    (office.folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing behind it\n")
    (office.folder / "empty.txt").write_bytes(b"")
    (office.folder / "nothing").mkdir()
    done, nothing, nowhere = await asyncio.gather(
        office.run("ingest", "broken.pdf", "empty.txt"),
        office.run("ingest", "nothing"),
        office.run("ingest", "nowhere"),
    )
    assert done.code == 1
    assert done.out == "0 indexed, 0 there already, 2 failed\n"
    assert [line.split(": ")[0] for line in sorted(done.err.splitlines())] == ["broken.pdf", "empty.txt"]
    assert "empty_file" in done.err

    assert (nothing.code, nothing.out) == (nowhere.code, nowhere.out) == (2, "")
    assert nothing.err.startswith("no documents found; supported: ")
    assert nowhere.err == "there is no file or folder nowhere\n"


async def test_search(office: Place, indexed: Done) -> None:
    found, plain, nothing, empty = await asyncio.gather(
        office.run("search", QUESTION, "--json", "-k", "1"),
        office.run("search", QUESTION),
        office.run("search", "zzqx", "--mode", "text"),
        office.run("search", " "),
    )
    assert (found.code, found.err) == (0, "")
    (item,) = json.loads(found.out)["items"]
    assert item["title"] in ("leave.md", "copy of leave.md")
    assert plain.out.startswith(f"[1] {item['title']}")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "nothing found\n")
    assert (empty.code, empty.out, empty.err) == (2, "", "The query is empty or too long.\n")


async def test_chat(office: Place, indexed: Done) -> None:
    answer, events, conversation, wrong = await asyncio.gather(
        office.run("chat", QUESTION),
        office.run("chat", QUESTION, "--json"),
        office.run("chat", stdin=f"{QUESTION}\n\n{'x' * 9000}\nWho approves leave?\n"),
        office.run("chat", QUESTION, "--lang", "xx"),
    )
    assert (answer.code, answer.err) == (0, "")
    assert "30 days of annual leave" in answer.out
    assert answer.out.rstrip().splitlines()[-1].strip() in ("[1] leave.md", "[1] copy of leave.md")
    types = [event["type"] for event in events.lines]
    assert (types[0], types[-2:]) == ("turn_started", ["assistant_message", "done"])
    assert "".join(e["text"] for e in events.lines if e["type"] == "delta") == events.lines[-2]["content"]
    assert conversation.code == 1  # one of its questions was refused; the conversation went on
    assert conversation.err.startswith("too_long: ")
    assert conversation.out.count("[1] ") >= 2
    assert "you> " not in conversation.out
    assert wrong.code == 2
    assert wrong.err.startswith("unsupported_language: ")


async def test_probe_and_doctor_beside_a_service(office: Place) -> None:
    ready, doctor, worker = await asyncio.gather(
        office.run("probe"), office.run("doctor"), office.run("probe", "--worker")
    )
    assert (ready.code, ready.out) == (0, "ready\n")
    assert doctor.code == 0
    assert f"ready on port {office.port}" in doctor.out
    assert worker.code == 1  # it is inside the service, whose own probe speaks for it


async def test_ctrl_c_ends_a_conversation_that_waits(office: Place, indexed: Done) -> None:
    process = await asyncio.create_subprocess_exec(
        RAGCHAT, "chat", env=office.environment(), cwd=office.folder, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{QUESTION}\n".encode())
    async with asyncio.timeout(30):
        while b"[1] " not in await process.stdout.readline():
            pass
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_workers_of_their_own_share_the_work(postgres: URL) -> None:
    """`migrate`, `serve --no-worker` and two workers on one database: each job is done once."""
    url = await make_database(postgres, "test_workers")
    async with place(database_url=url) as here:
        await migrated_by_two(here)
        await newer_one_is_refused(here, url)
        service = await here.serve("--no-worker", "--no-migrate")
        async with here.client() as http:
            ids = [await add(http, 0)]
            workers = await asyncio.gather(*(here.start("worker", worker_concurrency="1") for _ in range(2)))
            assert await document_status(http, ids[0]) == "queued"
            await asyncio.gather(*(worker.until("worker.ready") for worker in workers))
            ids += [await add(http, number) for number in range(1, 10)]
            assert {(await ended(http, id_))["status"] for id_ in ids} == {"ready"}
        jobs = await rows(url, "SELECT state, attempts FROM jobs")
        assert {(job["state"], job["attempts"]) for job in jobs} == {("done", 1)}
        assert len(await rows(url, "SELECT DISTINCT locked_by FROM jobs")) == 2

        assert (await here.run("probe", "--worker")).code == 0
        assert [await worker.stop() for worker in workers] == [0, 0]
        assert (await here.run("probe", "--worker")).code == 1
        assert all("worker.stopped" in worker.err and worker.out == "" for worker in workers)
        assert await service.stop() == 0


async def migrated_by_two(here: Place) -> None:
    early = await here.run("doctor")
    assert early.code == 0
    assert "the next start brings it to" in early.out
    first, second = await asyncio.gather(here.run("migrate"), here.run("migrate"))
    assert (first.code, first.err) == (second.code, second.err) == (0, "")
    assert first.out == second.out == f"database is at revision {head_revision()}\n"


async def newer_one_is_refused(here: Place, url: str) -> None:
    await rows(url, "UPDATE alembic_version SET version_num = '9999'")
    migrate, serve, doctor = await asyncio.gather(here.run("migrate"), here.run("serve"), here.run("doctor"))
    sentence = "The database is at a revision that this program does not know; use a newer one.\n"
    assert (migrate.code, migrate.err) == (2, f"migrations_unknown: {sentence}")
    assert (serve.code, serve.out) == (2, "")
    assert serve.err.splitlines()[-1] + "\n" == f"ragchat does not start: {sentence}"
    assert "Traceback" not in serve.err
    assert doctor.code == 1
    assert "newer than this program" in doctor.out
    await rows(url, "UPDATE alembic_version SET version_num = $1", head_revision())


async def add(http: httpx.AsyncClient, number: int) -> str:
    text = f"Rule {number}. " + f"Employees of office {number} get {number} days of leave. " * 60
    answer = await http.post("/api/v1/documents", json={"title": f"rule {number}", "text": text})
    assert answer.status_code == 202
    return str(answer.json()["id"])


async def document_status(http: httpx.AsyncClient, id_: str) -> str:
    return str((await http.get(f"/api/v1/documents/{id_}")).json()["status"])
