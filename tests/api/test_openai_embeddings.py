"""Many texts on the OpenAI-compatible route: in batches, for clients that are still there, beside everything else."""

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest

from app.api import bodies
from app.providers.ports import Embedder, Vectors
from app.services.embeddings import BATCH_TEXTS, MOST_REQUESTS, _what_is_read
from tests.api import test_rate_limit as limits
from tests.api.test_hostile_tools import request
from tests.api.test_openai_hostile import EMBEDDINGS, check_error
from tests.conftest import MakeTenant, Service, Tenant

limited = limits.limited
STALL_SECONDS = 0.2


class Gated:
    """The embedder of the service, that waits at each batch until it may."""

    def __init__(self, real: Embedder) -> None:
        self._real = real
        self.may = asyncio.Event()
        self.begun = asyncio.Event()
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(len(texts))
        self.begun.set()
        await self.may.wait()
        return np.random.default_rng(1).random((len(texts), self._real.dimensions), np.float32)


@pytest.fixture
def gate(service: Service, monkeypatch: pytest.MonkeyPatch) -> Gated:
    spaces = service.runtime.spaces
    gated = Gated(spaces.current.embedder)
    monkeypatch.setattr(spaces, "_current", dataclasses.replace(spaces.current, embedder=gated))
    return gated


def texts(count: int) -> dict[str, Any]:
    return {"model": "ragchat", "input": [f"text {number}" for number in range(count)]}


async def embed(tenant: Tenant, count: int, **fields: Any) -> httpx.Response:
    return await tenant.http.post(EMBEDDINGS, json=texts(count) | fields, timeout=60)


async def leaves(tenant: Tenant, gate: Gated, count: int) -> None:
    """A client that goes when the first batch is being embedded."""
    host, _, port = tenant.service.address.partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(texts(count)).encode()
    writer.write(request("POST", EMBEDDINGS, tenant.key, body, Content_Type="application/json"))
    async with asyncio.timeout(10):
        await gate.begun.wait()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_who_leaves_is_worked_for_no_longer(tenant: Tenant, gate: Gated) -> None:
    await leaves(tenant, gate, 20 * BATCH_TEXTS)
    async with asyncio.timeout(10):
        while tenant.runtime.embeddings.running:
            await asyncio.sleep(0.01)
    gate.may.set()
    assert (await embed(tenant, 1)).status_code == 200
    assert gate.batches == [BATCH_TEXTS, 1]


async def test_who_waits_for_longer_than_a_body_may_take_is_answered(
    tenant: Tenant, gate: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.3)
    waiting = asyncio.create_task(embed(tenant, 1))
    await asyncio.sleep(0.6)
    gate.may.set()
    assert (await waiting).status_code == 200


async def test_one_at_a_time(new_tenant: MakeTenant, gate: Gated) -> None:
    """Of a principal; and few of a process."""
    several = [await new_tenant() for _ in range(MOST_REQUESTS + 1)]
    running = []
    for tenant in several[:MOST_REQUESTS]:
        gate.begun.clear()
        running.append(asyncio.create_task(embed(tenant, 40)))
        async with asyncio.timeout(10):
            await gate.begun.wait()
    own = await embed(several[0], 1)
    check_error(own, 429, "too_many_embeddings")
    others = await embed(several[-1], 1)
    check_error(others, 503, "embeddings_busy")
    assert own.headers["retry-after"] == others.headers["retry-after"] == "1"
    gate.may.set()
    for answer in await asyncio.gather(*running):
        assert [item["index"] for item in answer.json()["data"]] == [*range(40)]
    assert [(await embed(tenant, 1)).status_code for tenant in several] == [200] * len(several)


async def test_what_fails_gives_its_place_back(tenant: Tenant) -> None:
    for _ in range(2):
        check_error(await embed(tenant, 1, input=["a", ""]), 400, "empty_content")
        check_error(await embed(tenant, 1, model="other"), 404, "model_not_found")
        assert (await embed(tenant, 1)).status_code == 200


async def test_texts_are_counted(limited: Service) -> None:
    async with limits.principal(limited) as tenant:
        answers = [await embed(tenant, count) for count in (3, 3, 2)]
    assert [answer.status_code for answer in answers] == [200, 429, 200]
    check_error(answers[1], 429, "rate_limited")
    assert answers[1].headers["ratelimit-policy"] == '"embeddings";q=5;w=60'
    assert 1 <= int(answers[1].headers["retry-after"]) <= 60


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[list[float]]:
    """How long the event loop, which is the service's too, did nothing else, in seconds."""
    taken: list[float] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(0.005)

    task = asyncio.create_task(watch())
    try:
        yield taken
    finally:
        task.cancel()


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_writing_thousands_of_numbers_keeps_nobody_waiting(tenant: Tenant, gate: Gated, encoding: str) -> None:
    gate.may.set()
    content = json.dumps(texts(2048) | {"encoding_format": encoding})
    async with watched() as taken, tenant.http.stream("POST", EMBEDDINGS, content=content, headers=JSON) as answer:
        assert answer.status_code == 200
        size = sum([len(part) async for part in answer.aiter_raw()])
    assert size > 2048 * 384 * 4
    assert max(taken) < STALL_SECONDS
    assert set(gate.batches) == {BATCH_TEXTS}


JSON = {"Content-Type": "application/json"}


async def test_a_long_text_is_read_as_far_as_the_model_does(service: Service) -> None:
    embedder = service.runtime.spaces.current.embedder
    long = "The ferry leaves the harbour at seven. " * 20_000
    spaced = "a" + " " * 100_000 + "b " * 1000
    for text in (long, spaced, "x" * 700_000, "short"):
        (read,), tokens = _what_is_read(embedder, [text])
        assert tokens == min(len(embedder.token_spans(text)), embedder.max_tokens)
        whole, part = await embedder.embed_documents([text]), await embedder.embed_documents([read])
        assert float((whole @ part.T)[0, 0]) > 0.9999
    (read,), _ = _what_is_read(embedder, [long])
    assert len(read) < 10_000
