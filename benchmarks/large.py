"""What the largest documents cost: memory of the service and of the process that reads, time, passages a second.

    .venv/bin/python -m benchmarks.large [--pages 2000] [--megabytes 50] [FILE ...]

A PDF of as many pages as are allowed, one page more, a text of the largest size that is taken (its words are unknown
to the model, so that it is quick to embed), one byte more, and any files that are named, all through one
`ragchat serve`. Memory is resident memory, sampled every 20 ms. Target: that of the service grows by less than 64 MiB
from the smallest document to the largest.
"""

import argparse
import asyncio
import time
from pathlib import Path

import httpx

from tests.integration.crowd import MEGABYTE, Memory, long_pdf, long_words, send
from tests.integration.processes import ended, place

PAGE_LINES = 40
IDLE_SECONDS = 2
LONGEST_SECONDS = 2 * 3600


async def outcome(http: httpx.AsyncClient, name: str, data: bytes) -> tuple[str, int]:
    """(how it ended, passages)."""
    id_, refused = await send(http, name, data)
    if refused:
        return f"refused({refused})", 0
    document = await ended(http, id_, LONGEST_SECONDS)
    if document["error"]:
        return f"failed({document['error']['code']})", 0
    return "ready", document["chunks"]


async def measure(http: httpx.AsyncClient, pid: int, name: str, data: bytes) -> float:
    """The service's peak in MiB."""
    with Memory(pid) as memory:
        began = time.perf_counter()
        how, passages = await outcome(http, name, data)
        seconds = time.perf_counter() - began
    print(
        f"{name}, {len(data) / MEGABYTE:.1f} MiB: {how} after {seconds:.1f} s, {passages} passages, "
        f"{passages / seconds:.0f} a second; peak of the service {memory.service:.0f} MiB, of the reader "
        f"{memory.reader:.0f} MiB",
        flush=True,
    )
    return memory.service


def documents(pages: int, megabytes: float, files: list[Path]) -> list[tuple[str, bytes]]:
    text = long_words(int(megabytes * MEGABYTE))
    made = [
        ("small.txt", long_words(MEGABYTE // 4)),
        (f"{pages}-pages.pdf", long_pdf(pages, PAGE_LINES)),
        (f"{pages + 1}-pages.pdf", long_pdf(pages + 1, PAGE_LINES)),
        ("largest.txt", text),
        ("one-byte-more.txt", text + b"."),
    ]
    return made + [(path.name, path.read_bytes()) for path in files]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("files", nargs="*", type=Path)
    asked = parser.parse_args()
    made = documents(asked.pages, asked.megabytes, asked.files)
    async with place(log_level="ERROR") as here:
        service = await here.serve()
        async with here.client() as http:
            with Memory(service.process.pid) as idle:
                await asyncio.sleep(IDLE_SECONDS)
            print(f"idle: {idle.service:.0f} MiB", flush=True)
            peaks = [await measure(http, service.process.pid, name, data) for name, data in made]
        await service.stop()
    print(f"growth of the service from the first to the largest: {max(peaks) - peaks[0]:.0f} MiB (target 64)")


if __name__ == "__main__":
    asyncio.run(main())
