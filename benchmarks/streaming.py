"""Tokens over WebSockets: ragchat, every event durable, next to a bare Starlette socket paced the same way.

    .venv/bin/python -m benchmarks.streaming [--sockets 100 500] [--rounds 3] [--seconds 10] [--quick]

The servers run in processes of their own and take turns; this process is the client. Each socket asks once, at a moment
of its own within the first seconds, and gets 50 tokens a second. Targets: tokens/s at least 0.9 of the bare socket's,
p99 of the time to the first token under three times the bare one's, under 60 KB a socket. The time to the first token
of ragchat has the storing of question, turn and first delta in it. A last round has one client that asks and never
reads.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx
import psutil  # type: ignore[import-untyped]

from benchmarks.streaming_client import Client, crowd

RATE = 50


@dataclass
class Server:
    name: str
    process: asyncio.subprocess.Process
    port: int
    key: str

    @property
    def rss(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def processor(self) -> float:
        """Seconds so far, those of its PostgreSQL apart."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


@dataclass
class Round:
    """What one crowd saw of one server."""

    tokens_a_second: float
    first: list[float]
    """From the question."""
    under_way: list[float]
    """From the moment in which the model said its first token."""
    memory: float
    processor: float
    """Seconds of the server's process for a million tokens."""
    frames: float
    """Deltas a second and socket."""


@dataclass
class Results:
    rounds: dict[str, list[Round]] = field(default_factory=dict)

    def add(self, name: str, made: Round) -> None:
        self.rounds.setdefault(name, []).append(made)

    def middle(self, name: str, of: str) -> float:
        return float(median(getattr(made, of) for made in self.rounds[name]))

    def quantile(self, name: str, share: float, of: str = "first") -> float:
        """In ms: the median of the rounds'."""
        return median(_quantile(getattr(made, of), share) for made in self.rounds[name])


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextlib.asynccontextmanager
async def serving(name: str, tokens: int) -> AsyncIterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="ragchat-streaming-"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.streaming_servers", name, str(RATE), str(tokens), str(folder),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port, _, key = (await process.stdout.readline()).decode().strip().partition(" ")
        yield Server(name, process, int(port), key)
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def clients(server: Server, count: int) -> list[Client]:
    if server.name == "bare":
        return [Client(server.port, "/", "go") for _ in range(count)]
    ask = json.dumps({"type": "user_message", "content": "Tell me everything.", "use_rag": False})
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", headers={"X-API-Key": server.key}) as http:
        made = [(await http.post("/api/v1/sessions", json={"user_id": "ravi"})).json()["id"] for _ in range(count)]
    return [Client(server.port, f"/chat/{id_}", ask, server.key) for id_ in made]


async def run(server: Server, count: int, spread: float, *, deaf: int = 0) -> Round:
    everybody = await clients(server, count + deaf)
    before, worked = server.rss, server.processor
    memory = await crowd(everybody[:count], everybody[count:], spread, lambda: server.rss)
    tokens = sum(client.tokens for client in everybody[:count])
    first = [client.first - client.asked for client in everybody[:count]]
    ended = max(client.last for client in everybody[:count])
    asked = min(client.asked for client in everybody[:count])
    return Round(
        tokens_a_second=tokens / (ended - asked),
        first=first,
        under_way=[client.first - client.said for client in everybody[:count]],
        memory=(memory - before) / (count + deaf) / 1024,
        processor=1e6 * (server.processor - worked) / tokens,
        frames=sum(client.deltas for client in everybody[:count]) / count / (ended - asked - spread),
    )


def report(count: int, results: Results) -> None:
    print(f"\n{count} sockets, {RATE} tokens/s each, medians of {len(results.rounds['bare'])} rounds")
    print("                      first token, p50 / p99 ms")
    print("              tokens/s   asked to seen    said to seen   KB a socket   deltas/s   processor s / 1M tokens")
    for name in results.rounds:
        print(
            f"  {name:10} {results.middle(name, 'tokens_a_second'):10,.0f}"
            f"   {results.quantile(name, 0.5):5.1f} / {results.quantile(name, 0.99):6.1f}"
            f"  {results.quantile(name, 0.5, 'under_way'):5.1f} / {results.quantile(name, 0.99, 'under_way'):6.1f}"
            f"   {results.middle(name, 'memory'):10.1f}   {results.middle(name, 'frames'):8.1f}"
            f"   {results.middle(name, 'processor'):10.1f}"
        )
    tokens = results.middle("ragchat", "tokens_a_second") / results.middle("bare", "tokens_a_second")
    late = results.quantile("ragchat", 0.99) / results.quantile("bare", 0.99)
    print(f"  ratio      {tokens:10.2f}   first token p99 {late:.1f}x   (targets: 0.9, 3x, 60 KB)")


def disk() -> str:
    """How long a commit takes at least: ragchat's first token has two of them before it."""
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(50):
            file.write(b"x" * 8192)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return f"{_quantile(times, 0.5):.1f} / {_quantile(times, 0.99):.1f} ms"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sockets", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--quick", action="store_true", help="one short round")
    given = parser.parse_args()
    seconds, rounds = (4.0, 1) if given.quick else (given.seconds, given.rounds)
    spread = seconds / 2
    print(f"writing to this disk takes {disk()} (p50 / p99)")
    async with serving("bare", int(seconds * RATE)) as bare, serving("ragchat", int(seconds * RATE)) as ragchat:
        for count in given.sockets:
            results = Results()
            for _ in range(rounds):
                for server in (bare, ragchat):
                    results.add(server.name, await run(server, count, spread))
                results.add("with a deaf one", await run(ragchat, count, spread, deaf=1))
            report(count, results)


if __name__ == "__main__":
    asyncio.run(main())
