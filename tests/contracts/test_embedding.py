"""What every embedding adapter must do."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import numpy as np
import pytest

from app.core.errors import Unavailable
from app.providers.ports import Embedder
from tests.contracts.embedders import (
    KINDS,
    PARAGRAPH,
    TELUGU,
    cosines,
    load,
    some_texts,
)


@pytest.fixture(scope="module", params=KINDS)
async def embedder(request: pytest.FixtureRequest) -> AsyncIterator[Embedder]:
    model = await asyncio.to_thread(load, request.param)
    yield model
    await model.close()


async def test_rows_are_float32_of_length_one(embedder: Embedder) -> None:
    vectors = await embedder.embed_documents(["one", "two words", PARAGRAPH])
    query = await embedder.embed_query("two words")
    assert vectors.shape == (3, embedder.dimensions)
    assert query.shape == (embedder.dimensions,)
    assert vectors.dtype == query.dtype == np.float32
    assert np.linalg.norm([*vectors, query], axis=1) == pytest.approx(1, abs=1e-5)
    assert (await embedder.embed_documents([])).shape == (0, embedder.dimensions)


async def test_results_are_in_the_order_of_the_texts(embedder: Embedder) -> None:
    texts = [f"word{n} " * (1 + (n * 37) % 190) for n in range(80)]
    vectors = await embedder.embed_documents(texts)
    for row in (0, 1, 13, 40, 78, 79):
        alone = await embedder.embed_query(texts[row])
        assert cosines(vectors[row], alone) > 0.999
        assert int(np.argmax(vectors @ alone)) == row


@pytest.mark.parametrize(
    "text", ["", "  \n ", "a" * 10_000, "long " * 2_000, TELUGU, "👨‍👩‍👧" * 50, "\x00", "half \ud83d pair"],
    ids=["empty", "blank", "one-word", "10,000 characters", "telugu", "emoji", "nul", "surrogate"],
)  # fmt: skip
async def test_any_text_has_a_vector(embedder: Embedder, text: str) -> None:
    (vector,) = await embedder.embed_documents([text])
    query = await embedder.embed_query(text)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert cosines(vector, query) > 0.999
    embedder.token_spans(text)


async def test_what_is_past_max_tokens_is_cut(embedder: Embedder) -> None:
    spans = embedder.token_spans(PARAGRAPH * 20)
    assert len(spans) > embedder.max_tokens
    cut = (PARAGRAPH * 20)[: spans[embedder.max_tokens - 3][1]]
    whole, kept, less = await embedder.embed_documents([PARAGRAPH * 20, cut, cut[:-100]])
    assert cosines(whole, kept) > 0.9999
    assert cosines(whole, less) < 0.9999


@pytest.mark.parametrize("text", [PARAGRAPH, TELUGU, "naïve ﬁsh, İstanbul 日本語", "👨‍👩‍👧 x\r\n\ty", ""])
async def test_token_spans_cover_the_text_in_code_points(embedder: Embedder, text: str) -> None:
    spans = embedder.token_spans(text)
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


async def test_token_spans_of_scripts_beyond_the_first_plane(embedder: Embedder) -> None:
    assert embedder.token_spans(TELUGU) == [(0, 8), (9, 10), (11, 16)]


async def test_the_event_loop_runs_meanwhile(embedder: Embedder) -> None:
    job = asyncio.ensure_future(embedder.embed_documents(some_texts(48)))
    began = last = time.perf_counter()
    largest = 0.0
    while not job.done():
        await asyncio.sleep(0.002)
        now = time.perf_counter()
        largest, last = max(largest, now - last), now
    assert largest < (last - began) / 3


async def test_a_question_and_a_small_document_do_not_wait_for_a_large_one(embedder: Embedder) -> None:
    large = asyncio.ensure_future(embedder.embed_documents(some_texts(96)))
    await asyncio.sleep(0.05)
    await embedder.embed_query("How long does a refund take?")
    assert not large.done()
    await embedder.embed_documents(["short"])
    assert not large.done()
    await large


async def test_cancelling_leaves_it_usable(embedder: Embedder) -> None:
    job = asyncio.ensure_future(embedder.embed_documents(some_texts(2_000, 6)))
    await asyncio.sleep(0.1)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert (await embedder.embed_documents(["still here"])).shape == (1, embedder.dimensions)


@pytest.mark.parametrize("kind", KINDS)
async def test_closed_is_closed(kind: str) -> None:
    others = set(embedding_threads())
    embedder = await asyncio.to_thread(load, kind)
    await embedder.embed_query("open")
    assert set(embedding_threads()) > others
    await embedder.close()
    await embedder.close()
    for use in (embedder.embed_query("x"), embedder.embed_documents(["x"])):
        with pytest.raises(Unavailable) as error:
            await use
        assert error.value.code == "embedder_closed"
    assert set(embedding_threads()) == others


def embedding_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(("embed-", "sentence-"))]
