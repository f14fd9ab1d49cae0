"""Documents made to hurt, next to ordinary ones: does the service still answer, and how long do the ordinary ones wait?

    .venv/bin/python -m benchmarks.hostile [--rounds 3] [--timeout 60] [--all]

Each round sends twenty ordinary documents to a `ragchat serve` of its own, first alone, then right behind a deep page
tree, deflate and zip bombs, endless lines and a PDF that takes all the time it gets. The two take turns, so that a
noisy machine disturbs both. `--all` adds the sixty documents of the shared set to the hostile side. Targets: the
slowest /livez under 200 ms, the ordinary ones no more than twice as long as alone.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import httpx
import numpy as np

from tests.integration.crowd import Asking, bombs, good, outcomes, send
from tests.integration.processes import Place, place

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "documents" / "files"
IDLE_SECONDS = 5
LONGEST_SECONDS = 3600


async def send_all(http: httpx.AsyncClient, files: Mapping[str, bytes]) -> dict[str, tuple[str, str | None]]:
    return {name: await send(http, name, data) for name, data in files.items()}


async def good_ones(http: httpx.AsyncClient, salt: str) -> float:
    """Seconds from the first upload until the last one is ready."""
    files = good(salt)
    began = time.perf_counter()
    found = await outcomes(http, await send_all(http, files), LONGEST_SECONDS)
    assert {*found.values()} == {"ready"}, found
    return time.perf_counter() - began


async def measure(here: Place, number: int, hostile: Mapping[str, bytes]) -> tuple[float, float, list[float]]:
    """(alone, beside, seconds of each /livez meanwhile)."""
    async with here.client() as http:
        alone = await good_ones(http, f"alone {number}")
        with Asking(here.port) as asking:
            sent = await send_all(http, hostile)
            beside = await good_ones(http, f"beside {number}")
            found = await outcomes(http, sent, LONGEST_SECONDS)
    assert not asking.failures, asking.failures
    report(f"round {number}: alone {alone:.2f} s, beside {beside:.2f} s, ratio {beside / alone:.2f}; ", asking.taken)
    print("  " + ", ".join(f"{name}: {code}" for name, code in found.items() if code != "ready"))
    return alone, beside, asking.taken


def report(label: str, taken: list[float]) -> None:
    p50, p99 = (1000 * value for value in np.percentile(taken, [50, 99]))
    print(f"{label}/livez p50 {p50:.1f}, p99 {p99:.1f}, slowest {1000 * max(taken):.1f} ms ({len(taken)} of them)")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=int, default=60, help="PARSER_TIMEOUT_SECONDS")
    parser.add_argument("--all", action="store_true", help="the shared set, too")
    asked = parser.parse_args()
    ratios: list[float] = []
    answers: list[float] = []
    for number in range(1, asked.rounds + 1):
        hostile = {name: data for name, (data, _) in bombs(line_bytes=1_000_000).items()}
        if asked.all:
            hostile |= {path.name: path.read_bytes() for path in sorted(SHARED.iterdir())}
        async with place(parser_timeout_seconds=str(asked.timeout), log_level="ERROR") as here:
            service = await here.serve()
            with Asking(here.port) as idle:
                await asyncio.sleep(IDLE_SECONDS)
            report("idle: ", idle.taken)
            alone, beside, taken = await measure(here, number, hostile)
            ratios.append(beside / alone)
            answers += taken
            await service.stop()
    print(f"slowest /livez {1000 * max(answers):.0f} ms (target 200); median ratio {median(ratios):.2f} (target 2)")


if __name__ == "__main__":
    asyncio.run(main())
