"""What every embedding adapter must do, and that the shipped one computes what sentence-transformers does."""

import asyncio
import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import Unavailable
from app.providers.embedding import batches, minilm, open_embedder, weights
from app.providers.embedding.sentence_transformers import load as load_sentence_transformers
from app.providers.embedding.threads import Threads
from app.providers.ports import Embedder, Vectors

ROOT = Path(__file__).resolve().parents[2]
SCIFACT = ROOT.parent / "shared" / "data" / "scifact" / "corpus.jsonl.gz"
REFERENCE = Path(__file__).with_name("embedding_reference.json")
TELUGU = "నమస్కారం 👍 hello"
PARAGRAPH = (
    "A parcel that arrives damaged can be sent back within thirty days. Keep the box and take two pictures: one of "
    "the label and one of the damage. The refund is paid to the card that was used, usually within five working days. "
)
EXTRA = pytest.mark.embeddings


def load(kind: str) -> Embedder:
    if kind == "sentence-transformers":
        if importlib.util.find_spec("sentence_transformers") is None:
            pytest.skip("sentence-transformers is not installed: make embeddings")
        return load_sentence_transformers(str(weights.model_folder()))
    return minilm.load(precision="f32" if kind == "minilm-f32" else "auto")


KINDS = ["minilm", pytest.param("sentence-transformers", marks=EXTRA)]


@pytest.fixture(scope="module", params=KINDS)
async def embedder(request: pytest.FixtureRequest) -> AsyncIterator[Embedder]:
    model = await asyncio.to_thread(load, request.param)
    yield model
    await model.close()


def cosines(a: Vectors, b: Vectors) -> Vectors:
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    found: Vectors = (a * b).sum(axis=-1) / lengths
    return found


def some_texts(count: int, repeat: int = 3) -> list[str]:
    return [f"Case {number}. " + PARAGRAPH * repeat for number in range(count)]


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


# --- the shipped model is the published one ---


async def test_vectors_are_those_of_sentence_transformers_by_the_recorded_ones() -> None:
    """Recorded with sentence-transformers 6.2.0, torch 2.13.0, float32."""
    recorded = json.loads(REFERENCE.read_text(encoding="utf-8"))
    expected = np.array(list(recorded.values()), np.float32)
    for precision, least in (("f32", 0.99999), ("auto", 0.999)):
        model = await asyncio.to_thread(load, f"minilm-{precision}")
        found = await model.embed_documents(list(recorded))
        await model.close()
        assert cosines(found, expected).min() > least


@EXTRA
async def test_vectors_and_rankings_are_those_of_sentence_transformers() -> None:
    theirs = await asyncio.to_thread(load, "sentence-transformers")
    texts = real_texts()
    expected = await theirs.embed_documents(texts)
    queries = await theirs.embed_documents([text[:120] for text in texts[:60]])
    await theirs.close()
    for kind, least in (("minilm-f32", 0.9999), ("minilm", 0.999)):
        ours = await asyncio.to_thread(load, kind)
        found = await ours.embed_documents(texts)
        asked = await ours.embed_documents([text[:120] for text in texts[:60]])
        await ours.close()
        assert cosines(found, expected).min() > least
        assert agreement(top(queries, expected), top(asked, found)) >= 0.99


def real_texts() -> list[str]:
    if not SCIFACT.exists():
        return [*json.loads(REFERENCE.read_text(encoding="utf-8")), *some_texts(20)]
    with gzip.open(SCIFACT, "rt", encoding="utf-8") as file:
        return [json.loads(line)["text"] for line, _ in zip(file, range(300), strict=False)]


def top(queries: Vectors, documents: Vectors) -> list[set[int]]:
    return [set(row[:10].tolist()) for row in np.argsort(-(queries @ documents.T), axis=1)]


def agreement(a: list[set[int]], b: list[set[int]]) -> float:
    return float(np.mean([len(x & y) / 10 for x, y in zip(a, b, strict=True)]))


# --- choosing and loading ---


def test_the_shipped_model_is_chosen_by_either_name() -> None:
    for name in ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        model = open_embedder(name, precision="f32")
        assert isinstance(model, minilm.MiniLM)
        assert (model.name, model.dimensions, model.max_tokens) == ("all-MiniLM-L6-v2", 384, 256)
        assert model.languages == {"en"}


def test_without_the_weights_package_it_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PACKAGE", "no_such_package")
    with pytest.raises(Unavailable) as error:
        open_embedder("all-MiniLM-L6-v2")
    assert error.value.code == "embedder_missing"
    assert "make run" in error.value.detail


def test_without_the_extra_it_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(Unavailable) as error:
        open_embedder("intfloat/multilingual-e5-small")
    assert error.value.code == "embedder_missing"
    assert "make embeddings" in error.value.detail


@EXTRA
def test_a_folder_that_is_no_model_is_an_error_of_ours(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed: make embeddings")
    with pytest.raises(Unavailable) as error:
        open_embedder(str(tmp_path))
    assert error.value.code == "embedder_not_loaded"


@pytest.mark.parametrize("change", ["one byte", "cut short", "empty"])
def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path, change: str) -> None:
    folder = shutil.copytree(weights.model_folder(), tmp_path / "model")
    with (folder / "model.safetensors").open("r+b") as file:
        if change == "one byte":
            file.seek(50_000_000)
            file.write(b"\x01")
        else:
            file.truncate(1_000_000 if change == "cut short" else 0)
    with pytest.raises(Unavailable) as error:
        minilm.load(folder=folder)
    assert error.value.code == "embedder_damaged"


IMPORT = """
import sys
import app.providers.embedding
heavy = {"openvino", "tokenizers", "torch", "transformers", "sentence_transformers"} & set(sys.modules)
assert not heavy, heavy
"""

LOAD = """
import sys, time
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        print("network:", event, arguments)
sys.addaudithook(refuse)
from app.providers.embedding import open_embedder
model = open_embedder("all-MiniLM-L6-v2")
time.sleep(0.3)
for line in open("/proc/self/status" if sys.platform == "linux" else "/dev/null"):
    if line.startswith(("VmHWM", "VmRSS")):
        print(line.strip())
"""


def run(code: str, home: Path) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**inherited, "HOME": str(home)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_is_light(tmp_path: Path) -> None:
    run(IMPORT, tmp_path)


def test_loading_tells_nobody_and_stays_small(tmp_path: Path) -> None:
    """`import openvino` by itself posts to a statistics service and leaves an identifier in the home folder."""
    printed = run(LOAD, tmp_path)
    assert "network" not in printed
    assert list(tmp_path.iterdir()) == []
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in printed.splitlines()}
    assert kilobytes.get("VmRSS", 0) < 220_000
    assert kilobytes.get("VmHWM", 0) < 300_000


# --- the small parts ---


@given(st.lists(st.integers(2, 300), max_size=200))
def test_every_text_is_in_one_batch_that_fits(lengths: list[int]) -> None:
    planned = list(batches.plan(lengths, budget=1024))
    assert sorted(row for batch in planned for row in batch.rows) == list(range(len(lengths)))
    for batch in planned:
        assert batch.length % batches.LENGTH_STEP == 0
        assert len(batch.rows) * batch.length <= 1024
        assert batch.length >= max(lengths[row] for row in batch.rows)


async def test_nothing_new_begins_after_a_cancel() -> None:
    threads = Threads("test", 2)
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.01)

    job = asyncio.ensure_future(threads.each(work, range(1_000)))
    await asyncio.sleep(0.05)
    job.cancel()
    await asyncio.wait([job])
    await threads.close()
    assert 1 <= len(begun) < 50


async def test_an_error_in_a_thread_reaches_the_caller() -> None:
    threads = Threads("test", 2)
    seen = {1: "", 2: ""}
    with pytest.raises(KeyError):
        await threads.each(seen.__delitem__, [2, 1, 0, 3])
    await threads.close()
