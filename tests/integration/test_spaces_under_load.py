"""From one embedding model to another and back while people search and documents come in: nobody notices.

The service, its worker and the commands are processes of their own.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import URL

from app.core.background import run_together
from app.providers.embedding import SHIPPED, open_embedder
from tests.conftest import make_database
from tests.integration.processes import Place, ended, place, rows
from tests.integration.spaces import NOT_FOUND_IN_THE_ACTIVE_SPACE, elsewhere

pytestmark = pytest.mark.xdist_group("spaces")
OTHER = f"{SHIPPED}@128"
DOCUMENTS, SENTENCES = 24, 110
SEARCHERS = 3
PAUSE_SECONDS = 0.2
"""Between their questions: the embedding of what comes in has the processors to itself for that long."""
TOP_K = 10
FOLLOW_SECONDS = 20
QUESTION = "How long may a parcel be kept?"
WORDS = [
    "parcel", "office", "leave", "manager", "holiday", "report", "travel", "insurance", "salary", "training",
    "security", "contract", "notice", "benefit", "dental", "vision", "harbour", "invoice", "warehouse", "courier",
]  # fmt: skip
SCORES = """
SELECT 1 - (e.embedding::halfvec({width}) <=> CAST($2 AS text)::halfvec({width})) AS score
FROM chunk_embeddings e JOIN chunks c ON c.id = e.chunk_id JOIN embedding_spaces s ON s.id = e.space_id
WHERE c.document_id = $1 AND s.model = $3 ORDER BY score DESC
"""


def words_about(topic: str, number: int) -> str:
    chance = random.Random(number)
    return " ".join(
        f"The {topic} of number {number} says: {' '.join(chance.choices(WORDS, k=9))}." for _ in range(SENTENCES)
    )


@dataclass
class Crowd:
    """People who search all the time. `seen`: by which space's scores their question about one document was answered,
    in the order of the answers."""

    http: httpx.AsyncClient
    chunks: dict[str, int]
    """How many each document has, once it is ready."""
    scores: dict[str, list[float]]
    """Of the passages of `asked`, by space."""
    asked: str
    seen: list[str] = field(default_factory=list)
    answers: int = 0

    async def search(self, query: str, **body: Any) -> list[dict[str, Any]]:
        answer = await self.http.post("/api/v1/search", json={"query": query} | body)
        assert answer.status_code == 200, answer.text
        self.answers += 1
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def forever(self, number: int) -> None:
        chance = random.Random(number)
        while True:
            query = f"What about the {chance.choice(WORDS)}?"
            for mode in ("vector", "hybrid"):
                assert len(await self.search(query, mode=mode, top_k=TOP_K)) == TOP_K
            document, count = chance.choice([*self.chunks.items()])
            found = await self.search(query, mode="vector", top_k=50, filters={"document_ids": [document]})
            assert len(found) == count, (document, count)
            filters = {"document_ids": [self.asked]}
            self.note([item["score"] for item in await self.search(QUESTION, mode="vector", top_k=50, filters=filters)])
            await asyncio.sleep(PAUSE_SECONDS)

    def note(self, scores: list[float]) -> None:
        for model, expected in self.scores.items():
            if scores == pytest.approx(expected, abs=2e-3):
                self.seen.append(model)
                return
        raise AssertionError(f"{scores} are of no space: {self.scores}")

    async def moved_to(self, model: str) -> None:
        """Everybody's answers come from this space, and stay there."""
        async with asyncio.timeout(FOLLOW_SECONDS):
            while self.seen[-1] != model:
                await asyncio.sleep(0.05)
        before = len(self.seen)
        while len(self.seen) < before + 4 * SEARCHERS:
            await asyncio.sleep(0.05)
        assert set(self.seen[before + SEARCHERS :]) == {model}


async def watch(connection: asyncpg.Connection) -> None:
    while True:
        assert await connection.fetchval(NOT_FOUND_IN_THE_ACTIVE_SPACE) == 0
        await asyncio.sleep(0.03)


async def add(http: httpx.AsyncClient, topic: str, number: int) -> dict[str, Any]:
    body = {"title": f"{topic} {number}", "text": words_about(topic, number)}
    answer = await http.post("/api/v1/documents", json=body)
    assert answer.status_code == 202, answer.text
    document = await ended(http, answer.json()["id"])
    assert document["status"] == "ready", document
    return document


async def by_sql(url: str, asked: str) -> dict[str, list[float]]:
    """What the scores of each space must be, without our search."""
    embedder = await asyncio.to_thread(open_embedder, SHIPPED)
    vector = await embedder.embed_query(QUESTION)
    await embedder.close()
    found = {}
    for model, width in ((SHIPPED, 384), (OTHER, 128)):
        values = "[" + ",".join(str(value) for value in vector[:width]) + "]"
        scored = await rows(url, SCORES.format(width=width), asked, values, model)
        found[model] = [row["score"] for row in scored]
    return found


@contextlib.asynccontextmanager
async def busy(crowd: Crowd, watcher: asyncpg.Connection) -> AsyncIterator[None]:
    """Searches and the watcher go on while the block lasts; a failure of theirs ends it."""
    works = run_together(watch(watcher), *(crowd.forever(number) for number in range(SEARCHERS)))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(works)
        yield
        task.cancel()


class Walk:
    def __init__(self, here: Place, url: str, crowd: Crowd) -> None:
        self.here, self.url, self.crowd = here, url, crowd
        self.number = 1000

    async def command(self, *arguments: str) -> None:
        done = await self.here.run("spaces", *arguments)
        assert done.code == 0, done.err

    async def step(self, topic: str, work: Coroutine[Any, Any, None], model: str) -> None:
        """`work` while a document comes in; then both it and everything else are found, by the model's space."""
        self.number += 1
        document, _ = await asyncio.gather(add(self.crowd.http, topic, self.number), work)
        await self.crowd.moved_to(model)
        self.crowd.chunks[document["id"]] = document["chunks"]
        question = f"What does the {topic} of number {self.number} say?"
        found = await self.crowd.search(question, mode="vector", top_k=50)
        assert document["id"] in {item["document_id"] for item in found}

    async def filled(self) -> None:
        await self.command("create", OTHER, "--detach")
        async with asyncio.timeout(90):
            while not await rows(self.url, "SELECT 1 FROM jobs WHERE kind = 'space.fill' AND state = 'done'"):
                await asyncio.sleep(0.1)

    async def dropped(self) -> None:
        await self.command("drop", SHIPPED, "--yes")
        await rows(self.url, "UPDATE jobs SET run_at = now() WHERE kind = 'space.drop'")
        await rows(self.url, "SELECT pg_notify('ragchat_jobs', '')")
        async with asyncio.timeout(30):
            while len(await rows(self.url, "SELECT 1 FROM embedding_spaces")) > 1:
                await asyncio.sleep(0.1)


@pytest.mark.timeout(400)
async def test_nobody_notices(postgres: URL) -> None:
    url = await make_database(postgres, "test_spaces_load")
    async with contextlib.AsyncExitStack() as stack:
        here = await stack.enter_async_context(place(database_url=url, exact_search_limit="100"))
        await here.serve("--no-worker")
        http = await stack.enter_async_context(here.client())
        worker = await here.start("worker", worker_concurrency="1")
        documents = [await add(http, "rule", number) for number in range(DOCUMENTS)]
        chunks = {document["id"]: document["chunks"] for document in documents}
        assert sum(chunks.values()) >= 250
        asked = documents[0]["id"]
        crowd = Crowd(http, chunks, {SHIPPED: (await by_sql(url, asked))[SHIPPED]}, asked)
        walk = Walk(here, url, crowd)
        async with elsewhere(url) as watcher, busy(crowd, watcher):
            await walk.step("filling", walk.filled(), SHIPPED)
            crowd.scores |= await by_sql(url, asked)
            assert crowd.scores[OTHER] != pytest.approx(crowd.scores[SHIPPED], abs=2e-2)
            await walk.step("switching", walk.command("switch", OTHER), OTHER)
            await walk.step("returning", walk.command("rollback"), SHIPPED)
            await walk.step("switching", walk.command("switch", OTHER), OTHER)
            await walk.step("dropping", walk.dropped(), OTHER)
        assert crowd.answers > 100
        jobs = await rows(url, "SELECT DISTINCT state, attempts, error_code FROM jobs WHERE state <> 'queued'")
        assert [tuple(job) for job in jobs] == [("done", 1, None)]
        assert await worker.stop() == 0
