"""`ragchat eval` on real documents: the gate on the bundled set, what is loaded and left, every command of the page."""

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import URL, text

from app.core.caller import Caller, tenant_caller
from app.core.ids import new_id
from app.evaluation import places
from app.evaluation.answers import Turn, answer, citation_problems
from app.evaluation.beir import Passage, read_corpus
from app.evaluation.corpus import load, settle
from app.evaluation.golden import golden_lines
from app.evaluation.questions import Question, read_questions
from app.evaluation.run import evaluate
from app.evaluation.sets import BUNDLED, EvaluationSet
from tests.api.test_feedback import answered, rate
from tests.conftest import ROOT, MakeTenant, Tenant, make_database
from tests.integration.processes import Done, Place, place, rows

pytestmark = [pytest.mark.xdist_group("evaluation"), pytest.mark.timeout(300)]
PAGE = (ROOT / "docs" / "evaluation.md").read_text()
GATE = ("ndcg@10=0.97", "hi:ndcg@10=0.95", "recall@5=0.97", "refusal_right=0.75", "cited=1", "citation_valid=1")
MOST = ("refusal_wrong=0.3",)
"""A little worse than what was measured: 0.992, 0.984, 1, 1, 1, 1 and 0.24."""
VIOLENCE = {"query": "Who do I report workplace violence to?", "document": "employee_handbook.pdf", "page": 6}


def nothing(_done: int, _total: int) -> None: ...


def quietly(done: Done) -> None:
    assert done.err == ""


# --- the gate ---


async def test_bundled_set_is_answered_well_enough(here: Place) -> None:
    limits = [part for limit in GATE for part in ("--min", limit)] + [
        part for limit in MOST for part in ("--max", limit)
    ]
    done = await here.run("eval", "--bundled", "--json", *limits)
    assert (done.code, done.err) == (0, ""), done.err
    found = json.loads(done.out)
    assert set(found["metrics"]) == {"all", "en", "hi"}
    assert (found["set"]["questions"], found["set"]["documents"], found["set"]["missing"]) == (58, 36, [])
    assert len(found["questions"]) == 58
    done = await here.run("eval", "--bundled", "--limit", "5", "--min", "ndcg@10=1.01")
    assert done.code == 1
    assert done.err.startswith("ndcg@10 is ")
    assert done.err.endswith(", not at least 1.01\n")


# --- what is loaded ---

STORED = text("""
SELECT d.external_id, d.title, d.chunk_count, d.term_count AS words, d.status, c.chunk_index, c.page, c.char_start,
       c.char_end, c.heading, c.content, c.content_hash, c.token_count, c.lang, c.terms::text AS terms, c.term_count,
       e.embedding::text AS embedding
FROM documents d JOIN chunks c ON c.document_id = d.id AND c.document_version = d.indexed_version
JOIN chunk_embeddings e ON e.chunk_id = c.id
WHERE d.tenant_id = :tenant ORDER BY d.external_id, c.chunk_index
""")


async def stored(tenant: Tenant, caller: Caller) -> tuple[list[dict[str, Any]], list[Any]]:
    async with tenant.runtime.owner.connect() as connection:
        found = [dict(row) for row in (await connection.execute(STORED, {"tenant": caller.tenant_id})).mappings()]
    return found, [np.array(json.loads(row.pop("embedding"))) for row in found]


async def test_a_corpus_is_stored_as_a_worker_would_do_it(tenant: Tenant) -> None:
    passages = read_corpus(BUNDLED)[::3]
    passages.append(
        Passage("long", "Long", "Heading\n\n" + "A sentence about leave. " * 300 + "\n\nछुट्टी का नियम। " * 40)
    )
    for passage in passages:
        await tenant.add_text(passage.text, title=passage.title, external_id=passage.id)
    async with places.passing(tenant.runtime) as caller:
        await load(tenant.runtime, caller, passages, nothing)
        mine, vectors = await stored(tenant, caller)
        theirs, expected = await stored(tenant, tenant.caller)
    assert len(mine) > len(passages) + 5
    assert mine == theirs
    assert all(one @ other > 0.999 for one, other in zip(vectors, expected, strict=True))


async def test_nothing_is_left_behind(tenant: Tenant) -> None:
    tenants = "SELECT count(*) FROM tenants WHERE name LIKE 'evaluation:passing:%'"
    async with places.passing(tenant.runtime) as caller:
        await load(tenant.runtime, caller, [Passage("a", "A", "Something."), Passage("b", "", "")], nothing)
        await settle(tenant.runtime, caller)
        folder = tenant.runtime.settings.data_dir / "files" / str(caller.tenant_id)
        assert len([*folder.iterdir()]) == 1
        assert await count(tenant, tenants) == 1
    assert not folder.exists() or [*folder.iterdir()] == []
    assert await count(tenant, tenants) == 0
    assert await count(tenant, f"SELECT count(*) FROM documents WHERE tenant_id = '{caller.tenant_id}'") == 0


async def count(tenant: Tenant, sql: str) -> int:
    async with tenant.runtime.owner.connect() as connection:
        return int((await connection.execute(text(sql))).scalar_one())


async def test_what_a_killed_run_left_is_swept_a_day_later(tenant: Tenant) -> None:
    left = {days: new_id() for days in (0, 2)}
    async with tenant.runtime.owner.begin() as connection:
        for days, id_ in left.items():
            await connection.execute(
                text(
                    "INSERT INTO tenants (id, name, created_at) "
                    "VALUES (:id, :name, now() - make_interval(days => :days))"
                ),
                {"id": id_, "name": f"evaluation:passing:{id_}", "days": days},
            )
    async with places.passing(tenant.runtime):
        pass
    found = {
        days: await count(tenant, f"SELECT count(*) FROM tenants WHERE id = '{id_}'") for days, id_ in left.items()
    }
    assert found == {0: 1, 2: 0}
    await places.delete(tenant.runtime, tenant_caller(left[0]))


async def test_kept_under_a_name(postgres: URL, tmp_path: Path) -> None:
    url = await make_database(postgres, "test_evaluation")
    async with place(database_url=url) as here:
        for name, passage in (("one", "The wombat sleeps."), ("two", "The wombat wakes.")):
            beir(tmp_path / name, passage)
        ids = []
        for name in ("one", "one", "two"):
            done = await here.run("eval", str(tmp_path / name), "--keep", "a_b")
            assert (done.code, done.err) == (0, "")
            assert "1 documents, 1 passages" in done.out
            ids.append([row["id"] for row in await rows(url, "SELECT id FROM tenants WHERE name LIKE 'evaluation:%'")])
        assert ids[0] == ids[1] != ids[2]
        assert [len(kept) for kept in ids] == [1, 1, 1]
        done = await here.run("eval", "drop", "a%b")
        assert (done.code, done.err) == (2, "nothing is kept as a%b; kept: a_b\n")
        assert (await here.run("eval", "drop", "a_b")).code == 0
        assert await rows(url, "SELECT id FROM tenants WHERE name LIKE 'evaluation:%'") == []


def beir(folder: Path, passage: str) -> None:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(json.dumps({"_id": "d", "title": "Wombats", "text": passage}))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "What does the wombat do?"}))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")


# --- questions about documents ---


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    lines = [VIOLENCE, VIOLENCE | {"page": 5}, VIOLENCE | {"page": 4}, {"query": "Nothing is said about this one."}]
    (folder / "qa.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "unanswerable.jsonl").write_text(json.dumps({"query": "Which rocket flew to the moon?"}) + "\n")
    return folder


async def test_documents_beside_the_instances_own(here: Place, questions: Path) -> None:
    done = await here.run("eval", str(questions), "--documents", str(ROOT / "examples"), "--json")
    assert (done.code, done.err) == (0, ""), done.err
    found = json.loads(done.out)
    by_page = [question["scores"] for question in found["questions"][:3]]
    assert [scores["page_strict@1"] for scores in by_page] == [1, 0, 0]
    assert [scores["page_lenient@1"] for scores in by_page] == [1, 1, 0]
    assert "ndcg@10" not in found["questions"][3]["scores"]
    assert found["questions"][4]["scores"] == {"refusal_right": 1}
    assert (found["set"]["judged"], found["set"]["unanswerable"]) == (3, 1)
    done = await here.run("eval", str(questions / "qa.jsonl"))
    assert done.code == 2
    assert done.err.startswith("none of the 1 documents that qa.jsonl names is here")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "name one set, or say --bundled"),
        (("a", "--bundled"), "name one set, or say --bundled"),
        (("nowhere",), "there is no text file nowhere"),
        (("--bundled", "--min", "ndcg"), "ndcg is no limit"),
        (("--bundled", "--min", "nonsense=1", "--limit", "1"), "nonsense was not measured; measured: ndcg@10"),
        (("--bundled", "--out", "nowhere/a.json"), "there is no folder"),
        (("--bundled", "--keep", "a b"), "a name to keep it under"),
        (("--bundled", "--documents", "nowhere"), "there is no folder nowhere"),
        (("compare", "nowhere", "nowhere"), "there is no file nowhere"),
        (("golden", "--rating", "sideways"), "--rating is up or down"),
    ],
)
async def test_what_cannot_run(here: Place, arguments: tuple[str, ...], complaint: str) -> None:
    done = await here.run("eval", *(arguments or ("--limit", "1")))
    assert done.code == 2
    assert done.err.startswith(complaint)
    assert done.err.count("\n") == 1


# --- answers ---


async def test_citations_are_checked_against_what_is_stored(tenant: Tenant) -> None:
    await tenant.add_text("Employees get 30 days of annual leave a year. Managers approve it.", title="Leave")
    turn = await answer(tenant.runtime, tenant.caller, Question("1", "How many days of annual leave do employees get?"))
    assert turn.cited
    assert not turn.refused

    async def problems(changed: Turn) -> list[str]:
        return await citation_problems(tenant.runtime, tenant.caller, changed)

    n, doc = next((doc["n"], doc) for doc in turn.docs if doc["n"] in turn.cited)
    assert await problems(turn) == []
    assert await problems(replace(turn, content=turn.content + " [99]")) == ["[99] names no source"]
    for change in ({"text": doc["text"] + "!"}, {"char_start": 1}, {"document_version": 7}):
        changed = replace(turn, docs=[doc | change])
        assert f"source {n} is not the document's text" in await problems(changed), change
    assert await problems(replace(turn, citations=[])) == [f"[{n}] does not bear its sentence out"]
    said = turn.citations[0]
    invented = turn.content[: said["start"]] + "x" + turn.content[said["start"] + 1 :]
    assert await problems(replace(turn, content=invented)) == [f"[{n}] is no quotation"]
    assert await problems(replace(turn, content=invented, llm_used=True)) == []
    sessions = await tenant.http.get("/api/v1/sessions")
    assert sessions.json()["total"] == 0


async def test_what_was_said_before_is_in_the_session(tenant: Tenant, tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    path.write_text(
        '{"query": "And managers?", "history": [{"speaker": "U", "text": "Leave?"}, {"speaker": "S", "text": "30."}]}'
    )
    await tenant.add_text("Managers get 35 days of leave a year.", title="Leave")
    (question,) = read_questions(path)
    found = await evaluate(tenant.runtime, tenant.caller, EvaluationSet("s", [question]), answers=True)
    assert found.questions[0].answer is not None
    assert found.metrics["all"]["turn_p50_ms"] > 0


# --- feedback ---


async def test_ratings_become_questions(tenant: Tenant, new_tenant: MakeTenant, tmp_path: Path) -> None:
    for about in ("Leave", "Parking"):  # two documents of one title
        await tenant.add_text(f"{about}: employees get 30 {about.lower()} days a year.", title="note")
    liked, disliked = await answered(tenant, "How many leave days do employees get?"), await answered(tenant, "What?")
    refused = await answered(tenant, "Which rocket flew to the moon?")
    assert refused["finish_reason"] == "no_context"
    await rate(tenant, liked["id"], rating="up")
    await rate(tenant, refused["id"], rating="up")
    await rate(tenant, disliked["id"], rating="down", comment="no idea")
    lines = [json.loads(line) for line in await golden_lines(tenant.runtime, tenant.caller, None)]
    by_id = {line["_id"]: line for line in lines}
    assert len(by_id) == 3
    cited = {source["document_id"] for source in liked["sources"]} & {
        place["document_id"] for place in by_id[liked["id"]]["evidence"]
    }
    assert cited
    assert by_id[refused["id"]]["answerable"] is False
    assert (by_id[disliked["id"]]["comment"], "evidence" in by_id[disliked["id"]]) == ("no idea", False)
    assert len(await golden_lines(tenant.runtime, tenant.caller, "down")) == 1

    path = tmp_path / "golden.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    set_ = EvaluationSet("golden", read_questions(path))
    found = await evaluate(tenant.runtime, tenant.caller, set_, answers=True)
    assert found.metrics["all"] | {"ndcg@10": 1, "refusal_right": 1, "refusal_wrong": 0} == found.metrics["all"]
    assert found.set.missing == []
    elsewhere = await new_tenant()  # where the ids are others: the title must do
    await elsewhere.add_text("Employees get 30 leave days a year.", title="note")
    found = await evaluate(elsewhere.runtime, elsewhere.caller, set_, answers=False)
    assert (found.set.missing, found.metrics["all"]["ndcg@10"]) == ([], 1)


# --- the page ---


def block(name: str) -> str:
    return PAGE.split(f"<!-- run: {name} -->\n```sh\n")[1].split("```")[0]


async def test_every_command_of_the_page(here: Place) -> None:
    (here.folder / ".venv").symlink_to(sys.prefix)
    (here.folder / "app").symlink_to(ROOT / "app")
    (here.folder / "examples").symlink_to(ROOT / "examples")
    printed = {name: await shell(here, block(name)) for name in ("bundled", "own", "beir", "compare", "golden")}
    assert PAGE.count("```sh") == len(printed)
    assert "58 questions, 46 with an expected document, 12 to be refused" in printed["bundled"]
    assert "<svg" in (here.folder / "report.html").read_text()
    assert printed["own"].count("3 questions, 2 with an expected document, 1 to be refused") == 2
    assert "small is deleted" in printed["beir"]
    assert "58 questions; 0 better, 0 worse" in printed["compare"]
    assert printed["golden"].startswith("0 questions")


async def shell(here: Place, script: str) -> str:
    environment = here.environment() | {"PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script, cwd=here.folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_metrics_of_the_page_are_those_that_are_measured(here: Place) -> None:
    done = await here.run("eval", "--bundled", "--limit", "8", "--json")
    for metric in json.loads(done.out)["metrics"]["all"]:
        name = metric.replace("@", "@k|").split("|")[0]
        assert name.replace("@k", "@") in PAGE or name in PAGE or metric.rpartition("_p")[0] in PAGE, metric
