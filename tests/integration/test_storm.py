"""P1, P3 and P7 at once: workers, the API and the database die in the middle of everything; the index does not show it.

Leases run out by themselves here: nothing in the database is touched but by the service.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
from datetime import datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import URL

from app.db.embedded import Server
from tests.conftest import DOCUMENTS, make_database
from tests.integration.crowd import long_words
from tests.integration.processes import Child, Place, place, rows
from tests.integration.test_ingestion_survives import WORDS, assert_clean, count, index, undisturbed
from tests.unit.readers.files import docx, paragraph

pytestmark = pytest.mark.xdist_group("storm")
SEED = 60_013
DEATHS = 10
LANES = 5
"""Workers alive at the same time: the deaths lie within few leases then, and no document meets five, after which it
would be given up."""
AT_ONCE = 4
"""Documents sent in each life of the API."""
LEASE_SECONDS = 15
READY_SECONDS = 60
CARRIED = (
    "crazyones.pdf", "issue-297.pdf", "simple.docx", "docx-tables.docx", "simple.doc", "fake-text.txt",
    "fake-html-cp1252.html", "umlauts-utf8.md",
)  # fmt: skip
MADE = 20 - len(CARRIED)
Index = dict[str, list[tuple[int, bytes]]]


def write_documents(folder: Path, *, longest: int = 24) -> list[Path]:
    """Twenty: text, Markdown and .docx of our own making, some of several hundred passages; real ones of others."""
    folder.mkdir()
    chance = random.Random(SEED)
    for number in range(MADE):
        kind = ("txt", "md", "docx", "txt")[number % 4]
        path = folder / f"made-{number}.{kind}"
        parts = [
            " ".join(" ".join(chance.choices(WORDS, k=12)).capitalize() + "." for _ in range(10))
            for _ in range(chance.randint(longest // 8, longest))
        ]
        if number % 4 == 3:
            path.write_bytes(long_words(400_000, seed=number))
        elif kind == "docx":
            path.write_bytes(docx("".join(paragraph(part) for part in parts)))
        else:
            path.write_text("\n\n".join(f"# Section {at} of {number}\n\n{part}" for at, part in enumerate(parts)))
    for name in CARRIED:
        shutil.copy(DOCUMENTS / name, folder / name)
    return sorted(folder.iterdir())


async def send_and_die(here: Place, documents: list[Path]) -> None:
    """Each life of the API ends with the last 202 of a few documents."""
    for first in range(0, len(documents), AT_ONCE):
        api = await here.serve("--no-worker")
        async with here.client() as http:
            answers = await asyncio.gather(*(send(http, path) for path in documents[first : first + AT_ONCE]))
            os.kill(api.process.pid, signal.SIGKILL)
        assert answers == [202] * len(answers)
        await api.ended()


async def send(http: httpx.AsyncClient, path: Path) -> int:
    return (await http.post("/api/v1/documents", files={"file": (path.name, path.read_bytes())})).status_code


async def workers_that_die(here: Place, deaths: int, lane: int) -> None:
    """One after the other, each a random moment after it took its first job, or before it took any."""
    chance = random.Random(SEED + lane)
    for _ in range(deaths):
        worker = await here.start("worker")
        await worker.until("worker.ready")
        with contextlib.suppress(TimeoutError):  # there may be none left
            async with asyncio.timeout(chance.choice((0, 3, 3, 3))):
                await worker.until("job.started")
        await asyncio.sleep(chance.uniform(0, 1.2))
        await worker.kill()


async def frozen_worker(here: Place) -> Child:
    """It stops in the middle of its work without dying, as on a machine that is suspended."""
    worker = await here.start("worker")
    await worker.until("job.started")
    worker.send(signal.SIGSTOP)
    return worker


async def all_ready(url: str) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while await count(url, "SELECT count(*) FROM documents WHERE status <> 'ready'"):
            await asyncio.sleep(0.1)


async def assert_files_fit_rows(here: Place, url: str) -> None:
    keys = await rows(url, "SELECT storage_key FROM documents UNION SELECT storage_key FROM document_versions")
    root = here.data / "files"
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == {row[0] for row in keys}


async def quiet(url: str) -> None:
    """Until no job is left that is due."""
    async with asyncio.timeout(2 * LEASE_SECONDS):
        while await count(url, "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND run_at <= now()"):
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
async def calm(postgres: URL, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Index]:
    """The documents, and what a run that nobody disturbs makes of them."""
    folder = tmp_path_factory.mktemp("storm") / "documents"
    documents = write_documents(folder)
    expected = await undisturbed(postgres, "test_calm_storm", folder)
    assert len(expected) == len(documents) == 20
    return documents, expected


@pytest.mark.timeout(300)
async def test_ten_dead_workers_a_frozen_one_and_an_api_that_dies_after_its_202s(
    postgres: URL, calm: tuple[list[Path], Index]
) -> None:
    documents, expected = calm
    url = await make_database(postgres, "test_ten_deaths")
    async with place(database_url=url) as here:
        assert (await here.run("migrate")).code == 0
        sending = asyncio.create_task(send_and_die(here, documents))
        frozen = await frozen_worker(here)
        await asyncio.gather(sending, *(workers_that_die(here, DEATHS // LANES, lane) for lane in range(LANES)))
        last = await here.start("worker")
        await last.until("worker.ready")
        await asyncio.sleep(LEASE_SECONDS + 1)  # by now the frozen one's jobs are somebody else's
        frozen.send(signal.SIGCONT)
        await all_ready(url)
        await quiet(url)
        assert await index(url) == expected
        await assert_clean(url)
        await assert_files_fit_rows(here, url)
        assert await count(url, "SELECT max(attempts) FROM jobs") > 1
        assert [await frozen.stop(), await last.stop()] == [0, 0]


@pytest.mark.timeout(300)
async def test_a_database_that_is_killed_in_the_middle(here: Place, calm: tuple[list[Path], Index]) -> None:
    """The embedded one, which the service starts again, twice."""
    documents, expected = calm
    total = sum(len(chunks) for chunks in expected.values())
    service = await here.serve()
    url = f"postgresql://postgres@/ragchat?host={Server(here.data / 'postgres').socket_folder}"
    async with here.client() as http:
        assert [await send(http, path) for path in documents] == [202] * len(documents)
        for share in (0.1, 0.5):
            async with asyncio.timeout(READY_SECONDS):
                while await count(url, "SELECT count(*) FROM chunks") < share * total:
                    await asyncio.sleep(0.02)
            before = await started_at(url)
            os.kill(here.postmaster(), signal.SIGKILL)
            async with asyncio.timeout(READY_SECONDS):
                while await started_at(url) in (None, before):
                    await asyncio.sleep(0.1)
    await all_ready(url)
    await quiet(url)
    assert await index(url) == expected
    await assert_clean(url)
    await assert_files_fit_rows(here, url)
    assert await count(url, "SELECT max(attempts) FROM jobs") > 1
    assert await service.stop() == 0
    assert "Traceback" not in service.err
    assert here.processes() == []


async def started_at(url: str) -> datetime | None:
    """The database; None while it is not up."""
    with contextlib.suppress(OSError, asyncpg.PostgresError):
        moment: datetime = (await rows(url, "SELECT pg_postmaster_start_time()"))[0][0]
        return moment
    return None
