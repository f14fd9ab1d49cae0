"""The shipped model computes what sentence-transformers does; choosing and loading an adapter; its small parts."""

import asyncio
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.errors import Unavailable
from app.providers.embedding import batches, minilm, open_embedder, weights
from app.providers.embedding.threads import Threads
from app.providers.ports import Vectors
from tests.contracts.embedders import (
    EXTRA,
    REFERENCE,
    ROOT,
    SCIFACT,
    cosines,
    load,
    some_texts,
)


async def test_vectors_are_those_of_sentence_transformers_by_the_recorded_ones() -> None:
    """Recorded with sentence-transformers 6.2.0, torch 2.13.0, float32."""
    recorded = json.loads(REFERENCE.read_text(encoding="utf-8"))
    expected = np.array(list(recorded.values()), np.float32)
    for precision, least, apart in (("f32", 0.99999, 5e-6), ("auto", 0.999, 0.005)):
        model = await asyncio.to_thread(load, f"minilm-{precision}")
        found = await model.embed_documents(list(recorded))
        await model.close()
        assert cosines(found, expected).min() > least
        assert np.abs(found - expected).max() < apart


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


@pytest.mark.parametrize("change", ["one byte", "a shape", "cut short", "empty"])
def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path, change: str) -> None:
    folder = shutil.copytree(weights.model_folder(), tmp_path / "model")
    with (folder / "model.safetensors").open("r+b") as file:
        if change == "one byte":
            file.seek(50_000_000)
            file.write(b"\x01")
        elif change == "a shape":
            header = file.read(20_000)
            file.seek(header.index(b"[30522,384]"))
            file.write(b"[384,30522]")
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


@example(list(range(2, 202)))
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


async def test_an_error_in_a_thread_reaches_the_caller_and_ends_the_rest() -> None:
    threads = Threads("test", 2)
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.001)
        if item == 10:
            raise KeyError(item)

    with pytest.raises(KeyError):
        await threads.each(work, range(1_000))
    await asyncio.sleep(0.05)
    await threads.close()
    assert len(begun) < 30
