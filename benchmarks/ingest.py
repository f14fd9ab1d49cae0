"""How fast documents become searchable, next to the bare embedding model on the same passages in the same run.

    .venv/bin/python -m benchmarks.ingest [--rounds 3] [--quick] [FILE ...]

Each round sends the files through the service's own parts (storage, queue, worker, reading process, chunks and vectors
in an embedded PostgreSQL). Before and after it the same texts go to the same model in one call, and a round is compared
with the mean of these two: a machine whose speed changes disturbs all three. Target: 0.85 of the bare model's chunks a
second.
"""

import argparse
import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import asyncpg
import psutil  # type: ignore[import-untyped]
from sqlalchemy import text

from app.core.caller import Caller, tenant_caller
from app.core.ids import new_id
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.db.engine import driver_connection
from app.db.notify import listening
from app.rag.indexed_text import embedded_text
from app.repositories.documents import CHANNEL
from app.runtime import Runtime, open_runtime
from app.schemas.documents import DocumentFields
from app.services.documents import Upload
from app.worker.runner import running_worker

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "documents" / "files"
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "employee_handbook.pdf"
CORPUS = ("handbook-872p.docx", "norwich-city.txt", "failure-after-repair.pdf", "multi-column-2p.pdf")
LONGEST_WAIT_SECONDS = 1.0
QUICK = ("norwich-city.txt", "failure-after-repair.pdf")
STATE = """
SELECT string_agg(filename || ' ' || error_code, ', ') FILTER (WHERE status = 'failed') AS failed,
       count(*) FILTER (WHERE status <> 'ready') AS unfinished
FROM documents WHERE tenant_id = $1
"""
CHUNKS = text("""
SELECT d.title, c.heading, c.content, c.page, d.id FROM chunks c JOIN documents d ON d.id = c.document_id
WHERE d.tenant_id = :tenant ORDER BY c.id
""")


def corpus(names: tuple[str, ...]) -> list[Path]:
    found = [SHARED / name for name in names if (SHARED / name).exists()]
    return found or [EXAMPLE]


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    yield await asyncio.to_thread(path.read_bytes)


async def ingested(runtime: Runtime, files: list[Path]) -> tuple[Caller, float]:
    """A tenant of its own that has the files, all ready, and the seconds from the first byte to the last vector."""
    caller = tenant_caller(new_id())
    async with runtime.uow(caller) as uow:
        await uow.api_keys.ensure_tenant(caller.tenant_id, str(caller.tenant_id))
    began = time.perf_counter()
    for path in files:
        await runtime.documents.create(caller, Upload(DocumentFields(), path.name, _blocks(path), {}))
    await _all_ready(runtime, caller)
    return caller, time.perf_counter() - began


async def _all_ready(runtime: Runtime, caller: Caller) -> None:
    """Looks when something has changed: the looking shares the cores with the work."""
    changed = asyncio.Event()
    async with listening(runtime.owner, CHANNEL, changed.set), driver_connection(runtime.owner) as watcher:
        while await _unfinished(watcher, caller):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                    await changed.wait()
            changed.clear()


async def _unfinished(watcher: asyncpg.Connection, caller: Caller) -> int:
    (row,) = await watcher.fetch(STATE, caller.tenant_id)
    if row["failed"]:
        raise SystemExit(f"failed: {row['failed']}")
    return int(row["unfinished"])


async def indexed_texts(runtime: Runtime, caller: Caller) -> tuple[list[str], int]:
    """(what was embedded, pages)."""
    async with runtime.owner.connect() as connection:
        rows = [*await connection.execute(CHUNKS, {"tenant": caller.tenant_id})]
    pages = len({(row.id, row.page) for row in rows if row.page is not None})
    return [embedded_text(row.title, row.heading, row.content) for row in rows], pages


def cpu_seconds(folder: Path) -> float:
    """Spent so far by this process, those that have read for it, and the database."""
    own = psutil.Process()
    server = psutil.Process(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]))
    total = 0.0
    for process in (own, *own.children()):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    for process in (server, *server.children()):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


async def embedded(runtime: Runtime, texts: list[str], folder: Path) -> tuple[float, float]:
    """(seconds, processor seconds) of the bare model."""
    spent, began = cpu_seconds(folder), time.perf_counter()
    await runtime.spaces.current.embedder.embed_documents(texts)
    return time.perf_counter() - began, cpu_seconds(folder) - spent


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two small files")
    parser.add_argument("files", nargs="*", type=Path)
    asked = parser.parse_args()
    files = asked.files or corpus(QUICK if asked.quick else CORPUS)
    configure_logging("ERROR", "json")
    folder = Path(tempfile.mkdtemp(prefix="ragchat-bench-"))
    settings = Settings(_env_file=None, data_dir=folder)
    ratios: list[float] = []
    shares: list[float] = []
    try:
        async with open_runtime(settings) as runtime, running_worker(runtime, concurrency=settings.worker_concurrency):
            caller, _ = await ingested(runtime, files)  # warm: connections, kernels, caches
            texts, pages = await indexed_texts(runtime, caller)
            before = await embedded(runtime, texts, folder)
            for number in range(1, asked.rounds + 1):
                spent = cpu_seconds(folder)
                _, seconds = await ingested(runtime, files)
                spent = cpu_seconds(folder) - spent
                after = await embedded(runtime, texts, folder)
                bare, bare_spent = ((x + y) / 2 for x, y in zip(before, after, strict=True))
                before = after
                ratios.append(bare / seconds)
                shares.append(bare_spent / spent)
                print(
                    f"round {number}: {len(texts)} chunks, {pages} numbered pages in {seconds:.2f} s: "
                    f"{len(texts) / seconds:.1f} chunks/s, {pages / seconds:.1f} pages/s end to end; "
                    f"{len(texts) / bare:.1f} chunks/s bare; ratio {ratios[-1]:.3f}, "
                    f"of processor time {shares[-1]:.3f}"
                )
            peak = psutil.Process().memory_info().rss / 2**20
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"median ratio {median(ratios):.3f} (target 0.85), of processor time {median(shares):.3f}")
    print(f"resident memory at the end {peak:.0f} MiB")


if __name__ == "__main__":
    asyncio.run(main())
