"""`ragchat spaces` as processes, beside a service and workers that run, and with workers that are killed."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import URL

from app.providers.embedding import SHIPPED, weights
from app.runtime import open_runtime
from tests.conftest import ROOT, make_database, make_settings
from tests.contracts.embedders import EXTRA
from tests.contracts.embedders import load as load_embedder
from tests.integration.processes import Child, Place, place, rows
from tests.integration.spaces import BUILDER, INDEX, VALID, add_passages, elsewhere

pytestmark = [pytest.mark.xdist_group("spaces"), pytest.mark.timeout(300)]
PAGE = (ROOT / "docs" / "embedding-spaces.md").read_text()
NARROW = f"{SHIPPED}@64"
QUESTIONS = [
    {"query": "Who do I report workplace violence to?", "document": "employee_handbook.pdf", "page": 6},
    {"query": "Who do I report workplace violence to?", "document": "employee_handbook.pdf", "pages": [1, 5]},
    {"query": "Who do I report workplace violence to?", "document": "employee_handbook.pdf", "page": 11},
    {"query": "Who do I report workplace violence to?", "document": "another.pdf"},
    {"query": "What are the company's values?"},
]
FOLLOW_SECONDS = 15
TERMINATE_BUILD = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%'
"""
PASSAGES = 560
"""A little more than two windows of the job that fills."""


@pytest.fixture(scope="module")
async def office(postgres: URL) -> AsyncIterator[Place]:
    """A service with a worker inside, a worker beside it, and 21 passages."""
    url = await make_database(postgres, "test_spaces_cli")
    async with place(database_url=url) as made:
        await made.serve()
        done = await made.run("ingest", str(ROOT / "examples" / "employee_handbook.pdf"))
        assert done.out == "1 indexed, 0 there already, 0 failed\n"
        (made.folder / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)) + "\n\n")
        yield made


@pytest.fixture
async def fresh(office: Place) -> AsyncIterator[Place]:
    """Nothing but the shipped model's space, whatever the test before has left."""
    yield office
    url = office.environment()["DATABASE_URL"]
    await rows(url, "UPDATE embedding_spaces SET is_active = (model = $1), filled_at = now(), "
                    "activated_at = CASE WHEN model = $1 THEN now() END", SHIPPED)  # fmt: skip
    await rows(url, "DELETE FROM jobs")
    for row in await rows(url, "DELETE FROM embedding_spaces WHERE NOT is_active RETURNING id"):
        await rows(url, f"DROP INDEX IF EXISTS {INDEX}{row['id']}")
    await rows(url, "SELECT pg_notify('ragchat_spaces', '')")
    await follows(office, [])


async def listed(here: Place) -> list[dict[str, Any]]:
    done = await here.run("spaces", "list", "--json")
    assert (done.code, done.err) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


async def follows(here: Place, degraded: list[str]) -> None:
    """The service says so within seconds."""
    async with here.client() as http, asyncio.timeout(FOLLOW_SECONDS):
        while (await http.get("/readyz")).json().get("degraded", []) != degraded:
            await asyncio.sleep(0.1)


async def refusal(here: Place, *arguments: str) -> str:
    """The one line of a command that could not run."""
    done = await here.run("spaces", *arguments)
    assert (done.code, done.out) == (2, ""), done.out + done.err
    assert done.err.count("\n") == 1
    return done.err


async def test_create_switch_back_and_drop_beside_a_service(fresh: Place) -> None:
    (first,) = await listed(fresh)
    assert (first["model"], first["active"], first["vectors"], first["chunks"]) == (SHIPPED, True, 21, 21)

    done = await fresh.run("spaces", "create", NARROW)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f"({NARROW}) is complete: 21 passages; nothing uses it yet\n")
    table = (await fresh.run("spaces", "list")).out.splitlines()
    assert table[0].split() == ["id", "model", "dimensions", "languages", "state", "vectors", "index", "error"]
    assert table[1].split()[1:] == [SHIPPED, "384", "en", "active", "21/21", "-"]  # too few to need an index
    assert table[2].split()[1:] == [NARROW, "64", "en", "new", "21/21", "valid"]

    await follows(fresh, [])
    assert (await fresh.run("spaces", "switch", NARROW)).code == 0
    await follows(fresh, ["embedding_space"])  # the setting names the other
    assert [space["active"] for space in await listed(fresh)] == [False, True]
    assert (await fresh.run("spaces", "rollback")).out == f"search uses space {first['id']} ({SHIPPED}) again\n"
    await follows(fresh, [])
    assert (await fresh.run("spaces", "switch", NARROW)).code == 0

    done = await fresh.run("spaces", "drop", str(first["id"]), "--yes")
    assert (done.code, done.err) == (0, "")
    assert [space["dropping"] for space in await listed(fresh)] == [True, False]
    url = fresh.environment()["DATABASE_URL"]
    assert len(await rows(url, "UPDATE jobs SET run_at = now() WHERE kind = 'space.drop' RETURNING id")) == 1
    await rows(url, "SELECT pg_notify('ragchat_jobs', '')")
    async with asyncio.timeout(FOLLOW_SECONDS):
        while len(await listed(fresh)) > 1:
            await asyncio.sleep(0.1)
    assert (await fresh.run("spaces", "create", SHIPPED)).code == 0  # so that the next test finds it


async def test_what_cannot_be_done_is_one_line(fresh: Place) -> None:
    done = await fresh.run("spaces", "create", NARROW, "--json")
    url, id_ = fresh.environment()["DATABASE_URL"], done.lines[0]["id"]
    assert len(await rows(url, "DELETE FROM chunk_embeddings WHERE space_id = $1 RETURNING 1", id_)) == 21
    said = [
        *await asyncio.gather(
            refusal(fresh, "drop", SHIPPED, "--yes"),
            refusal(fresh, "create", "./nowhere"),
            refusal(fresh, "drop", str(id_)),
        ),
        *await asyncio.gather(
            refusal(fresh, "compare", SHIPPED, str(id_), "--questions", "questions.jsonl"),
            refusal(fresh, "rollback"),
            refusal(fresh, "switch", "no-such-model"),
        ),
    ]
    assert [line.split(": ")[0] for line in said] == [
        "space_active",
        "embedder_not_loaded",
        "this deletes vectors; say --yes\n",
        "space_incomplete",
        "no_earlier_space",
        "space_not_found",
    ]


async def test_detached_it_is_the_work_of_the_workers(fresh: Place) -> None:
    done = await fresh.run("spaces", "create", f"sentence-transformers/{NARROW}", "--detach", "--json")
    (state,) = done.lines
    assert (done.code, done.err, state["model"], state["indexed"]) == (0, "", NARROW, False)
    async with asyncio.timeout(30):
        while not (state := (await listed(fresh))[1])["indexed"] or state["job"] != "done":
            await asyncio.sleep(0.1)
    assert (state["vectors"], state["dimensions"], state["languages"]) == (21, 64, ["en"])


async def test_compare(fresh: Place) -> None:
    await fresh.run("spaces", "create", NARROW)
    asked = ("compare", SHIPPED, NARROW, "--questions", "questions.jsonl", "-k", "3")
    done = await fresh.run("spaces", *asked, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert (found["top_k"], found["questions"], found["judged"]) == (3, 5, 4)
    assert [measures["model"] for measures in found["measures"]] == [SHIPPED, NARROW]
    for measures in found["measures"]:  # its page and the one before are right, the last page and another file are not
        assert (measures["hit_at_1"], measures["hit_at_k"], measures["mrr"]) == (0.5, 0.5, 0.5)
        assert 0 < measures["p50_ms"] <= measures["p95_ms"]
    assert 0 < found["overlap"] <= 1

    lines = (await fresh.run("spaces", *asked)).out.splitlines()
    assert lines[0].split()[-1] == "difference"
    assert [line.split()[0] for line in lines[1:4]] == ["hit@1", "hit@3", "MRR@3"]
    assert lines[2].split()[1:] == ["0.500", "0.500", "+0.000"]
    assert lines[4].startswith("p50 ms ")
    assert lines[6] == f"{found['overlap']:.3f} of the first 3 passages are the same, on average"
    same = await fresh.run("spaces", "compare", SHIPPED, SHIPPED, "--questions", "questions.jsonl", "--json")
    assert json.loads(same.out)["overlap"] == 1


async def test_a_service_that_cannot_load_the_model_goes_on(fresh: Place) -> None:
    url = fresh.environment()["DATABASE_URL"]
    await rows(url, "UPDATE embedding_spaces SET is_active = false")
    await rows(url, "INSERT INTO embedding_spaces (model, dimensions, languages, is_active, activated_at, filled_at) "
                    "VALUES ('/nowhere/model', 64, '{en}', true, now(), now())")  # fmt: skip
    await follows(fresh, ["embedding_space"])
    async with fresh.client() as http:
        body = {"query": "workplace violence", "mode": "vector"}
        assert len((await http.post("/api/v1/search", json=body)).json()["items"]) == 5
        assert (await http.get("/readyz")).status_code == 200
    found = await fresh.run("search", "workplace violence", "--json")  # a process that starts now
    assert found.out, found.err
    assert (found.code, len(json.loads(found.out)["items"])) == (0, 5)
    assert "embedding_space.cannot_follow" in found.err
    await rows(url, "UPDATE embedding_spaces SET filled_at = NULL WHERE model = $1", SHIPPED)
    refused = await fresh.run("serve", port="1")
    assert refused.code == 2
    assert "There is no folder /nowhere/model" in refused.err.splitlines()[-1]

    assert (await fresh.run("spaces", "switch", SHIPPED)).code == 0  # needs no model
    await follows(fresh, [])


@EXTRA
async def test_a_folder_of_sentence_transformers(fresh: Place) -> None:
    """The same weights by another library: the same passages in the same order, within rounding."""
    await (await asyncio.to_thread(load_embedder, "sentence-transformers")).close()
    folder = fresh.folder / "models" / "ours"
    shutil.copytree(weights.model_folder(), folder)
    done = await fresh.run("spaces", "create", "models/ours", "--json")
    assert (done.code, done.lines[0]["model"]) == (0, str(folder)), done.err
    assert done.lines[0]["languages"] == ["*"]
    compared = await fresh.run(
        "spaces", "compare", SHIPPED, "./models/ours", "--questions", "questions.jsonl", "--json"
    )
    assert json.loads(compared.out)["overlap"] > 0.9
    assert (await fresh.run("spaces", "switch", "models/ours")).code == 0
    await follows(fresh, ["embedding_space"])
    async with fresh.client() as http:
        body = {"query": "workplace violence", "mode": "vector"}
        assert len((await http.post("/api/v1/search", json=body)).json()["items"]) == 5


# --- workers that are killed ---


@pytest.fixture
async def url(postgres: URL) -> str:
    return await make_database(postgres, "test_spaces_killed")


async def prepare(here: Place, url: str, count: int) -> int:
    """A database with so many passages, and a space that a worker is to fill."""
    settings = make_settings(database_url=url, data_dir=here.folder / "first", exact_search_limit=0)
    async with open_runtime(settings) as runtime:
        await add_passages(runtime, count, sentences=3)
    done = await here.run("spaces", "create", NARROW, "--detach", "--json")
    return int(done.lines[0]["id"])


async def until(url: str, sql: str, *values: Any) -> Any:
    """The value, once it is neither zero nor null."""
    async with asyncio.timeout(60):
        while not (found := await rows(url, sql, *values)) or not found[0][0]:
            await asyncio.sleep(0.05)
    return found[0][0]


async def lease_runs_out(url: str) -> None:
    await rows(url, "UPDATE jobs SET lease_until = now() WHERE state = 'running'")


async def completed(here: Place, url: str, id_: int, count: int) -> None:
    """By another worker; nothing is doubled."""
    await lease_runs_out(url)
    worker = await here.start("worker")
    await until(url, "SELECT state = 'done' FROM jobs WHERE kind = 'space.fill'")
    assert await worker.stop() == 0
    assert (await rows(url, VALID, f"{INDEX}{id_}"))[0]["valid"] is True
    found = await rows(url, "SELECT count(*), count(DISTINCT chunk_id) FROM chunk_embeddings WHERE space_id = $1", id_)
    assert [*found[0]] == [count, count]
    assert (await here.run("spaces", "switch", str(id_))).code == 0


async def test_a_worker_killed_while_it_fills(url: str) -> None:
    async with place(database_url=url) as here:
        id_ = await prepare(here, url, PASSAGES)
        worker = await here.start("worker")
        await until(url, "SELECT count(*) FROM chunk_embeddings WHERE space_id = $1", id_)
        await worker.kill()
        assert (await rows(url, "SELECT count(*) FROM chunk_embeddings WHERE space_id = $1", id_))[0][0] < PASSAGES
        assert (await refusal(here, "switch", str(id_))).startswith("space_incomplete: ")
        await completed(here, url, id_, PASSAGES)


async def killed_while_it_builds(here: Place, url: str, id_: int) -> Child:
    worker = await here.start("worker")
    await until(url, "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass($1)", f"{INDEX}{id_}")
    await worker.kill()
    assert (await rows(url, VALID, f"{INDEX}{id_}"))[0]["valid"] is False
    return worker


async def test_a_worker_killed_while_it_builds_the_index(url: str) -> None:
    """PostgreSQL notices it and leaves an index that is not valid."""
    async with place(database_url=url, exact_search_limit="0") as here:
        id_ = await prepare(here, url, 30)
        async with elsewhere(url) as writer:  # its build waits for this transaction
            await writer.execute("BEGIN; DELETE FROM chunk_embeddings WHERE false")
            await killed_while_it_builds(here, url, id_)
            await rows(url, TERMINATE_BUILD)
        left = await rows(url, VALID, f"{INDEX}{id_}")
        assert left[0]["valid"] is False
        assert (await refusal(here, "switch", str(id_))).startswith("space_not_indexed: ")
        await completed(here, url, id_, 30)
        assert (await rows(url, VALID, f"{INDEX}{id_}"))[0]["id"] != left[0]["id"]


async def test_a_build_that_goes_on_without_its_worker_is_waited_for(url: str) -> None:
    async with place(database_url=url) as here:
        id_ = await prepare(here, url, 30)
        async with elsewhere(url) as writer:
            await writer.execute("BEGIN; DELETE FROM chunk_embeddings WHERE false")
            await killed_while_it_builds(here, url, id_)
            left = await rows(url, VALID, f"{INDEX}{id_}")
            await lease_runs_out(url)
            worker = await here.start("worker")
            await until(url, f"SELECT count(*) FROM pg_stat_activity WHERE {BUILDER}")
            await writer.execute("COMMIT")
            await until(url, "SELECT state = 'done' FROM jobs WHERE kind = 'space.fill'")
            assert await worker.stop() == 0
        assert [*(await rows(url, VALID, f"{INDEX}{id_}"))[0]] == [left[0]["id"], True]


async def test_create_that_is_broken_off_is_gone_on_with(url: str) -> None:
    async with place(database_url=url) as here:
        id_ = await prepare(here, url, PASSAGES)
        child = await here.start("spaces", "create", NARROW)
        await until(url, "SELECT count(*) FROM jobs WHERE state = 'running'")
        assert await child.stop(signal.SIGINT) == 130
        assert child.err == "stopped\n"
        assert [*(await rows(url, "SELECT state, attempts FROM jobs WHERE kind = 'space.fill'"))[0]] == ["queued", 0]
        done = await here.run("spaces", "create", NARROW, "--json")
        assert (done.lines[0]["id"], done.lines[0]["vectors"], done.lines[0]["indexed"]) == (id_, PASSAGES, True)


async def test_create_says_that_its_job_has_failed(url: str) -> None:
    async with place(database_url=url) as here:
        id_ = await prepare(here, url, PASSAGES)
        child = await here.start("spaces", "create", NARROW)
        await until(url, "SELECT count(*) FROM jobs WHERE state = 'running'")
        await rows(url, "UPDATE jobs SET state = 'dead', error_code = 'internal' WHERE state = 'running'")
        assert await child.ended() == 2
        assert child.err == "space_not_filled: The job that fills it has failed with internal; try again.\n"
        (_, state) = await listed(here)
        assert (state["id"], state["error"]) == (id_, "internal")
        assert (await here.run("spaces", "list")).out.splitlines()[-1].split()[-1] == "internal"


# --- the page ---


def block(name: str) -> str:
    return PAGE.split(f"<!-- run: {name} -->\n```sh\n")[1].split("```")[0]


async def test_every_command_of_the_page(here: Place) -> None:
    (here.folder / ".venv").symlink_to(sys.prefix)
    await here.serve()
    await here.run("ingest", str(ROOT / "examples"))
    printed = {}
    for name in ("create", "compare", "switch", "rollback", "drop"):
        printed[name] = await shell(here, block(name))
    assert PAGE.count("```sh") == len(printed)
    assert f"({SHIPPED}@256) is complete: 21 passages" in printed["create"]
    assert "3 questions, 2 with a document" in printed["compare"]
    assert f"({SHIPPED}@256) now" in printed["switch"]
    assert [line.split("(")[1] for line in printed["rollback"].splitlines()] == [
        f"{SHIPPED}) again",
        f"{SHIPPED}@256) again",
    ]
    assert "is dropped" in printed["drop"]


async def shell(here: Place, script: str) -> str:
    environment = here.environment() | {"PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script, cwd=here.folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


def test_the_page_is_short() -> None:
    assert PAGE.count("\n") <= 80
