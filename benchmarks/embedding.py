"""How fast the shipped embedding model runs, next to sentence-transformers in the same run, and whether it agrees.

    .venv/bin/python -m benchmarks.embedding [--texts 128] [--rounds 5] [--precision auto|f32]

The two take turns, so that a noisy machine disturbs both. Without `make embeddings` only ours is measured. Target:
3.5 times the chunks a second of sentence-transformers, cosine at least 0.999, top-10 agreement at least 0.99, the
95th percentile of a question during indexing under 60 ms.
"""

import argparse
import asyncio
import gzip
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from app.providers.embedding import minilm
from app.providers.embedding.weights import model_folder
from app.providers.ports import Vectors

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "data" / "scifact" / "corpus.jsonl.gz"
CHUNK_TOKENS = 200
WARM_UP = 16
FALLBACK = "Number {0}: a parcel that arrives damaged can be sent back within thirty days; keep box {0}. " * 9

Encode = Callable[[list[str]], Vectors]


def chunks(model: minilm.MiniLM, count: int) -> list[str]:
    """Abstracts of scientific papers, each cut to about 200 tokens."""
    if not CORPUS.exists():
        return [FALLBACK.format(number) for number in range(count)]
    found: list[str] = []
    with gzip.open(CORPUS, "rt", encoding="utf-8") as file:
        for line in file:
            text: str = json.loads(line)["text"]
            spans = model.token_spans(text)
            if len(spans) >= CHUNK_TOKENS:
                found.append(text[: spans[CHUNK_TOKENS - 1][1]])
            if len(found) == count:
                break
    return found


def sentence_transformers() -> Encode | None:
    """The library by itself as its documentation uses it, not our adapter."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(model_folder()), device="cpu")

    def encode(texts: list[str]) -> Vectors:
        found = model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, np.float32)

    return encode


def take_turns(encoders: dict[str, Encode], texts: list[str], rounds: int) -> dict[str, list[float]]:
    """Chunks a second, one figure for each round."""
    rates: dict[str, list[float]] = {name: [] for name in encoders}
    for encode in encoders.values():
        encode(texts[:WARM_UP])
    for _ in range(rounds):
        for name, encode in encoders.items():
            began = time.perf_counter()
            encode(texts)
            rates[name].append(len(texts) / (time.perf_counter() - began))
    return rates


def compare(ours: Vectors, theirs: Vectors) -> None:
    cosine = (ours * theirs).sum(axis=1)
    shared = [
        len(set(a[:10].tolist()) & set(b[:10].tolist())) / 10
        for a, b in zip(np.argsort(-(ours @ ours.T)), np.argsort(-(theirs @ theirs.T)), strict=True)
    ]
    print(f"cosine to sentence-transformers: min {cosine.min():.6f}, mean {cosine.mean():.6f}")
    print(f"top-10 agreement over {len(ours)} chunks as questions: {np.mean(shared):.4f}")


async def question_latency(model: minilm.MiniLM, texts: list[str]) -> None:
    """Alone, and while documents are being embedded."""
    for label, background in (("alone", False), ("while 2,000 chunks are embedded", True)):
        job = asyncio.ensure_future(model.embed_documents((texts * 2_000)[:2_000] if background else []))
        taken: list[float] = []
        while len(taken) < 200 and not (background and job.done()):
            began = time.perf_counter()
            await model.embed_query(f"what was measured in case {len(taken)} of the study?")
            taken.append(1_000 * (time.perf_counter() - began))
            await asyncio.sleep(0.03)
        job.cancel()
        await asyncio.wait([job])
        p50, p95 = np.percentile(taken, [50, 95])
        print(f"question, {label}: p50 {p50:.1f} ms, p95 {p95:.1f} ms ({len(taken)} of them)")


def report(rates: dict[str, list[float]]) -> None:
    for name, found in rates.items():
        print(f"{name}: {median(found):.0f} chunks/s (from {min(found):.0f} to {max(found):.0f})")
    if len(rates) == 2:
        ours, theirs = (median(found) for found in rates.values())
        pairs = [a / b for a, b in zip(*rates.values(), strict=True)]
        print(f"ratio: {ours / theirs:.2f} of the medians, {median(pairs):.2f} median of the rounds")


def main() -> None:
    parser = argparse.ArgumentParser(description="Embedding throughput, latency and agreement.")
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=["auto", "f32"], default="auto")
    options = parser.parse_args()
    began = time.perf_counter()
    model = minilm.load(precision=options.precision)
    print(f"load: {time.perf_counter() - began:.2f} s")
    texts = chunks(model, options.texts)
    with asyncio.Runner() as runner:
        encoders: dict[str, Encode] = {"ours": lambda part: runner.run(model.embed_documents(part))}
        runner.run(question_latency(model, texts))
        other = sentence_transformers()
        if other is None:
            print("sentence-transformers is not installed (make embeddings): no ratio")
        else:
            encoders["sentence-transformers"] = other
        report(take_turns(encoders, texts, options.rounds))
        if other is not None:
            compare(encoders["ours"](texts), other(texts))
        runner.run(model.close())


if __name__ == "__main__":
    main()
