"""How fast and how complete search is, next to raw pgvector, an exact scan and FAISS in the same run.

    .venv/bin/python -m benchmarks.search [--chunks 100000] [--data DIR] [--cache DIR] [--questions 400] [--rounds 4]

The rows are the passages of scifact and xquad with their real vectors, and more made of their sentences, all in one
tenant; 1 % and 0.1 % of the chunks are in collections of their own. A data folder that is given is kept and used again:
loading takes minutes. Every way is asked everything once before, so that none finds pages in the database's memory
which another had to fetch from disk; then they take turns, so that a noisy machine disturbs all. The first two columns
are a whole transaction, from taking a connection to giving it back, the next two the search inside it; questions are
embedded beforehand except for `retrieve`. The legs give what a question needs of them, fifty passages with text, title
and place; "ids" gives ten ids, as the raw way does. FAISS: `uv pip install --group bench`. Targets: the lexical leg's
p95 under 10 ms at 100,000 chunks and under 25 ms at 500,000, the vector leg within 1.3 times raw pgvector, hybrid p95
within 1.5 times its slower leg, recall@10 of 0.99, and of 1 under the filters.
"""

import argparse
import asyncio
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np
import numpy.typing as npt
from pydantic import SecretStr

from app.core.logging import configure_logging
from app.core.settings import Settings
from app.languages import LANGUAGES, detect
from app.runtime import Runtime, open_runtime
from benchmarks.search_corpus import COLLECTIONS, SEED, questions
from benchmarks.search_database import ensure_loaded, stored_vectors
from benchmarks.search_ways import CONNECTIONS, TOP_K, Application, Faiss, Judge, Question, Raw, Way, raw_connections

SLOW_QUESTIONS = 8
"""For exact scans of everything, in each round."""
LEG_BESIDE_WORDS = "vector leg as in hybrid, ids"
COMPARED = 200
"""Hybrid searches that are made exactly, too."""
FEW_CHUNKS = 100_000
MEMBERS = "SELECT c.id FROM chunks c JOIN documents d ON d.id = c.document_id WHERE d.collection = $1"


@dataclass(slots=True)
class Row:
    """A way of searching and what was measured of it, in milliseconds. `members`: what a filter keeps, None for all."""

    name: str
    way: Way
    questions: list[Question]
    judged: bool = False
    members: npt.NDArray[np.int64] | None = None
    slow: bool = False
    whole: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    a_second: float = 0.0

    def p(self, percent: float, *, inside: bool = False) -> float:
        return float(np.percentile(self.inside if inside else self.whole, percent))


async def ask(row: Row, asked: list[Question], judge: Judge) -> None:
    """One after the other. Recall is computed when all are through: it would empty the processor's caches."""
    answers: list[list[UUID]] = []
    for question in asked:
        began = time.perf_counter()
        found = await row.way(question, 0)
        whole = time.perf_counter() - began
        row.whole.append(1000 * whole)
        row.inside.append(1000 * (whole if found.inside is None else found.inside))
        answers.append(found.ids)
    if row.judged:
        row.recall += [judge.recall(q, ids, row.members) for q, ids in zip(asked, answers, strict=True)]


async def throughput(row: Row) -> None:
    """Questions a second of CONNECTIONS tasks that share them."""
    waiting: Iterator[Question] = iter(row.questions[: SLOW_QUESTIONS * 2 if row.slow else None])
    answered = 0

    async def take(slot: int) -> None:
        nonlocal answered
        for question in waiting:
            await row.way(question, slot)
            answered += 1

    began = time.perf_counter()
    await asyncio.gather(*(take(slot) for slot in range(CONNECTIONS)))
    row.a_second = answered / (time.perf_counter() - began)


async def measure(rows: list[Row], judge: Judge, rounds: int) -> None:
    for row in rows:
        for question in row.questions[:2] if row.slow else row.questions:
            await row.way(question, 0)
    for number in range(rounds):
        for row in rows:
            part = row.questions[number::rounds]
            await ask(row, part[:SLOW_QUESTIONS] if row.slow else part, judge)
    for row in rows:
        await throughput(row)


async def asked_questions(runtime: Runtime, count: int) -> dict[str, list[Question]]:
    """ "English": as many of each set; "Hindi": `count`. The same ones in every run."""
    random = np.random.default_rng(SEED)
    sets = questions()
    english = [name for name in sets if name != "xquad Hindi"]
    shares = {name: count // len(english) if name in english else count for name in sets}
    found: dict[str, list[Question]] = {"English": [], "Hindi": []}
    for name, all_texts in sets.items():
        drawn = random.permutation(len(all_texts))[: shares[name]].tolist()
        for asked in (all_texts[position] for position in drawn):
            config = LANGUAGES[detect(asked, default="en")].text_search
            vector = await runtime.spaces.current.embedder.embed_query(asked)
            found["English" if name in english else "Hindi"].append(Question(asked, config, vector))
    return {label: [part[i] for i in random.permutation(len(part))] for label, part in found.items() if part}


def plan(application: Application, raw: Raw, asked: dict[str, list[Question]]) -> list[Row]:
    english = asked["English"]
    rows = [Row(f"lexical leg, {label}", application.leg(words=True), part) for label, part in asked.items()]
    rows += [
        Row("vector leg (HNSW)", application.leg(vector=True), english, judged=True),
        Row("vector leg alone, ids", application.nearest(words=False), english, judged=True),
        Row(LEG_BESIDE_WORDS, application.nearest(words=True), english, judged=True),
        Row("hybrid", application.leg(vector=True, words=True), english),
        Row("retrieve, hybrid", application.retrieve, english),
        Row("raw pgvector", raw.hnsw, english, judged=True),
        Row("raw pgvector, transaction", raw.hnsw_in_transaction, english, judged=True),
        Row("exact scan", raw.exact, english, judged=True, slow=True),
    ]
    return rows


def filtered(
    share: str,
    collection: str,
    application: Application,
    raw: Raw,
    asked: list[Question],
    members: npt.NDArray[np.int64],
) -> list[Row]:
    ours = application.leg(vector=True, collection=collection)
    both = application.leg(vector=True, words=True, collection=collection)
    return [
        Row(f"vector leg, {share}", ours, asked, judged=True, members=members),
        Row(f"hybrid, {share}", both, asked),
        Row(f"raw exact, {share}", raw.exact_within(collection), asked, judged=True, members=members),
    ]


def print_table(rows: list[Row]) -> None:
    print(f"\n{'':38}{'p50':>8}{'p95':>8}{'inside':>8}{'p95':>8}{'q/s':>8}  recall@{TOP_K}")
    for row in rows:
        times = "".join(f"{row.p(percent, inside=inside):8.2f}" for inside in (False, True) for percent in (50, 95))
        recall = f"{np.mean(row.recall):.4f}, least {min(row.recall):.1f}" if row.recall else "-"
        print(f"{row.name:38}{times}{row.a_second:8.0f}  {recall}")
    print(f"milliseconds; q/s on {CONNECTIONS} connections")


def print_ratios(rows: dict[str, Row], chunks: int) -> None:
    lexical, vector, hybrid = rows["lexical leg, English"], rows["vector leg (HNSW)"], rows["hybrid"]
    limit = 10 if chunks <= FEW_CHUNKS else 25
    print()
    for row in rows.values():
        if row.name.startswith("lexical"):
            print(f"{row.name}: p95 {row.p(95):.1f} ms, inside {row.p(95, inside=True):.1f} ms (target {limit})")
    for ours in (vector, rows["vector leg alone, ids"]):
        for base in (rows["raw pgvector"], rows["raw pgvector, transaction"]):
            whole, inside = (
                [ours.p(percent, inside=inside) / base.p(percent) for percent in (50, 95)] for inside in (False, True)
            )
            print(
                f"{ours.name} to {base.name}: whole {whole[0]:.2f} of the p50s, {whole[1]:.2f} of the p95s; "
                f"inside {inside[0]:.2f}, {inside[1]:.2f} (target 1.3)"
            )
    slower = max(lexical.p(95), rows[LEG_BESIDE_WORDS].p(95))
    print(f"hybrid p95 to its slower leg: {hybrid.p(95) / slower:.2f}, to the slower of the legs alone: ", end="")
    print(f"{hybrid.p(95) / max(lexical.p(95), vector.p(95)):.2f} (target 1.5)")
    print(f"recall@{TOP_K} of the vector leg: {np.mean(vector.recall):.4f} (target 0.99)")
    for row in rows.values():
        if row.members is not None and row.name.startswith("vector leg"):
            print(f"recall@{TOP_K}, {row.name}: {np.mean(row.recall):.4f}, least {min(row.recall):.1f} (target 1)")


async def run(runtime: Runtime, chunks: int, count: int, rounds: int) -> None:
    asked = await asked_questions(runtime, count)
    application = Application(runtime)
    ef_search = await application.ef_search(asked["English"][0])
    async with raw_connections(runtime, ef_search) as connections:
        space = runtime.spaces.current
        judge = Judge(*await stored_vectors(connections[0], space.id))
        raw = Raw(connections, space.id, space.dimensions, ef_search)
        rows = plan(application, raw, asked)
        for name, share in COLLECTIONS.items():
            members = judge.positions([record["id"] for record in await connections[0].fetch(MEMBERS, name)])
            rows += filtered(f"{100 * share:g} %", name, application, raw, asked["English"], members)
            print(f"{name}: {len(members)} chunks")
        if importlib.util.find_spec("faiss") is None:
            print("faiss: not installed")
        else:
            faiss = Faiss(judge, runtime.settings.data_dir / "faiss.index")
            recall = await judge.mean_recall(raw.hnsw, asked["English"])
            ef = await faiss.reach(recall, judge, asked["English"])
            rows.append(Row(f"FAISS HNSW, ef {ef}", faiss.search, asked["English"], judged=True))
        await measure(rows, judge, rounds)
    agreement = [await application.agreement(question) for question in asked["English"][:COMPARED]]
    beside_words = await application.ef_search(asked["English"][0], words=True)
    print(
        f"{sum(map(len, asked.values()))} questions in {rounds} rounds; "
        f"hnsw.ef_search {ef_search}, beside words {beside_words}"
    )
    print_table(rows)
    print_ratios({row.name: row for row in rows}, chunks)
    print(f"recall@{TOP_K} of hybrid, to an exact vector leg: {np.mean(agreement):.4f}, least {min(agreement):.1f}")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="data folder, kept; without it a temporary one")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()), help="for the real vectors")
    parser.add_argument("--questions", type=int, default=400, help="of each language")
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args()
    configure_logging("ERROR", "json")
    folder = asked.data or Path(tempfile.mkdtemp(prefix="ragchat-bench-"))
    settings = Settings(_env_file=None, data_dir=folder, database_url=SecretStr(""))
    try:
        async with open_runtime(settings) as runtime:
            await ensure_loaded(runtime, asked.chunks, asked.cache)
            await run(runtime, asked.chunks, asked.questions, asked.rounds)
    finally:
        if asked.data is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
