"""P3 and P7: whatever moment a process is killed at, the index ends up as if nothing had happened."""

import asyncio
import random
import shutil
import signal
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.conftest import DOCUMENTS, make_database, shared
from tests.integration.processes import Place, ended, place, rows

SEED = 20_417
KILLS_AT = (0.05, 0.4, 0.75)
"""Shares of the chunks that are there when the process is killed."""
WORDS = [
    "leave", "policy", "manager", "request", "annual", "report", "travel", "expense", "insurance", "salary", "office",
    "holiday", "training", "security", "contract", "notice", "period", "benefit", "health", "plan", "dental", "vision",
]  # fmt: skip
OTHERS = ("crazyones.pdf", "simple.docx", "fake-html-cp1252.html", "umlauts-utf8.md")
CHUNKS = """
SELECT d.title, c.chunk_index, c.content_hash, c.document_version = d.indexed_version AS seen,
       (SELECT count(*) FROM chunk_embeddings e WHERE e.chunk_id = c.id) AS embeddings
FROM chunks c JOIN documents d ON d.id = c.document_id ORDER BY d.title, c.chunk_index, c.content_hash
"""


def write_documents(folder: Path) -> None:
    folder.mkdir()
    chance = random.Random(SEED)
    for number in range(8):
        parts = []
        for section in range(8):
            sentences = (" ".join(chance.choices(WORDS, k=12)).capitalize() + "." for _ in range(10))
            parts.append(f"# Section {section} of {number}\n\n" + " ".join(sentences))
        (folder / f"generated-{number}.{'md' if number % 2 else 'txt'}").write_text("\n\n".join(parts))
    for name in OTHERS:
        shutil.copy(DOCUMENTS / name, folder / name)


async def index(url: str) -> dict[str, list[tuple[int, bytes]]]:
    """Title to (index, hash) of each chunk; every chunk is one that search sees, with one embedding."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    for row in await rows(url, CHUNKS):
        assert (row["seen"], row["embeddings"]) == (True, 1), dict(row)
        found.setdefault(row["title"], []).append((row["chunk_index"], row["content_hash"]))
    return found


async def count(url: str, sql: str) -> int:
    try:
        return int((await rows(url, sql))[0][0])
    except Exception as exc:
        if "does not exist" in str(exc):  # not migrated yet
            return 0
        raise


async def undisturbed(postgres: URL, name: str, documents: Path) -> dict[str, list[tuple[int, bytes]]]:
    url = await make_database(postgres, name)
    async with place(database_url=url) as calm:
        done = await calm.run("ingest", str(documents), "--json")
    assert done.code == 0, done.err
    assert {line["status"] for line in done.lines} == {"ready"}
    return await index(url)


async def kill_when(here: Place, documents: Path, url: str, chunks: int) -> None:
    """`ragchat ingest`, killed a moment after so many chunks were there."""
    chance = random.Random(SEED + chunks)
    child = await here.start("ingest", str(documents))
    async with asyncio.timeout(60):
        while await count(url, "SELECT count(*) FROM chunks") < chunks:
            assert child.process.returncode is None, child.out + child.err
            await asyncio.sleep(0.02)
    await asyncio.sleep(chance.uniform(0, 0.2))
    assert child.process.returncode is None, "it was over before it could be killed"
    await child.kill()


async def assert_clean(url: str) -> None:
    states = await rows(url, "SELECT state, count(*) FROM jobs WHERE kind <> 'statistics.refresh' GROUP BY state")
    assert [row["state"] for row in states] == ["done"], states
    assert {row["status"] for row in await rows(url, "SELECT status FROM documents")} == {"ready"}


async def test_an_ingestion_that_is_killed_again_and_again(postgres: URL, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    write_documents(documents)
    expected = await undisturbed(postgres, "test_calm", documents)
    total = sum(len(chunks) for chunks in expected.values())
    assert len(expected) == 12
    assert total > 60

    url = await make_database(postgres, "test_storm")
    async with place(database_url=url) as here:
        for share in KILLS_AT:
            await kill_when(here, documents, url, round(share * total))
            await rows(url, "UPDATE jobs SET lease_until = now() WHERE state = 'running'")  # 15 seconds later
        assert await count(url, "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')") > 0
        done = await here.run("ingest", str(documents), "--json")
        assert done.code == 0, done.err
        assert sorted(Path(line["path"]).name for line in done.lines) == sorted(
            path.name for path in documents.iterdir()
        )
        assert await index(url) == expected
        await assert_clean(url)
        assert await count(url, "SELECT max(attempts) FROM jobs") > 1
        assert not [*(here.data / "files" / "incoming").iterdir()]

        again = await here.run("ingest", str(documents), "--json")
        assert again.code == 0
        assert {line["already"] for line in again.lines} == {True}
        assert await index(url) == expected


async def test_longer_pdfs_with_a_kill(postgres: URL, tmp_path: Path) -> None:
    source = shared("northwind-pdf-pages", "pdf")
    documents = tmp_path / "documents"
    documents.mkdir()
    for name in ("Benefit_Options.pdf", "PerksPlus.pdf"):
        shutil.copy(source / name, documents / name)
    expected = await undisturbed(postgres, "test_calm_pdf", documents)
    url = await make_database(postgres, "test_storm_pdf")
    async with place(database_url=url) as here:
        await kill_when(here, documents, url, 1)
        await rows(url, "UPDATE jobs SET lease_until = now() WHERE state = 'running'")
        assert (await here.run("ingest", str(documents))).code == 0
        assert await index(url) == expected
        await assert_clean(url)


TEXT = "The annual leave is thirty days. " * 300


async def test_a_service_killed_after_its_202_and_a_worker_that_always_dies(postgres: URL) -> None:
    url = await make_database(postgres, "test_after_202")
    async with place(database_url=url) as here:
        service = await here.serve()
        async with here.client() as http:
            kept, doomed = [
                (await http.post("/api/v1/documents", json={"title": title, "text": title + TEXT})).json()["id"]
                for title in ("kept", "doomed")
            ]
            await service.kill()
            died = await rows(url, DIED_AT_EACH_ATTEMPT, doomed)
            assert len(died) == 1
            service = await here.serve()
            assert (await ended(http, kept))["status"] == "ready"  # once the dead process's lease has run out
            document = await ended(http, doomed)
            assert document["status"] == "failed"
            assert document["error"]["code"] == "worker_died"
            job = (await rows(url, "SELECT * FROM jobs WHERE payload->>'document_id' = $1", doomed))[0]
            assert (job["state"], job["error_code"], job["attempts"]) == ("dead", "worker_died", job["max_attempts"])

            # the same bytes once more are a new try
            text = {"title": "doomed", "text": "doomed" + TEXT}
            assert (await http.post("/api/v1/documents", json=text)).json()["id"] == doomed
            assert (await ended(http, doomed))["status"] == "ready"
        assert await service.stop(signal.SIGINT) == 0


DIED_AT_EACH_ATTEMPT = """
UPDATE jobs SET state = 'running', attempts = max_attempts, lease_token = gen_random_uuid(), lease_until = now()
WHERE payload->>'document_id' = $1 AND state IN ('queued', 'running') RETURNING id
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_ingestion_that_is_broken_off_gives_its_jobs_back(
    postgres: URL, tmp_path: Path, number: signal.Signals
) -> None:
    """Nobody has to wait for a lease, and no attempt is lost."""
    documents = tmp_path / "documents"
    write_documents(documents)
    url = await make_database(postgres, f"test_broken_off_{number.value}")
    async with place(database_url=url) as here:
        child = await here.start("ingest", str(documents))
        async with asyncio.timeout(60):
            while await count(url, "SELECT count(*) FROM jobs WHERE state = 'running'") < 2:
                await asyncio.sleep(0.02)
        assert await child.stop(number) == 128 + number
        assert child.err == "stopped\n"
        left = await rows(url, "SELECT state, attempts FROM jobs WHERE state <> 'done'")
        assert {(row["state"], row["attempts"]) for row in left} == {("queued", 0)}
