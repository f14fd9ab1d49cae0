"""Real child processes of `ragchat`, each place with a data folder, a port and an environment of its own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil  # type: ignore[import-untyped]

RAGCHAT = str(Path(sys.executable).parent / "ragchat")
SLOW_SERVICE = (sys.executable, str(Path(__file__).with_name("slow_service.py")))
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
READY_SECONDS = 60
STOP_SECONDS = 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str
    seconds: float

    @property
    def lines(self) -> list[Any]:
        """The JSON lines of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


class Child:
    """A process in a session of its own, so that a signal to its group is what Ctrl-C in a terminal is."""

    def __init__(self, process: asyncio.subprocess.Process, name: Path) -> None:
        self.process = process
        self._name = name

    @property
    def out(self) -> str:
        return self._name.with_suffix(".out").read_text()

    @property
    def err(self) -> str:
        return self._name.with_suffix(".err").read_text()

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    async def ended(self, seconds: float = STOP_SECONDS) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        self.send(number)
        return await self.ended(seconds)

    async def kill(self) -> None:
        """As `kill -9` of this one process; what it started is left alone."""
        self.process.kill()
        await self.process.wait()

    async def until(self, text: str, *, seconds: float = READY_SECONDS) -> None:
        """Waits for it on stdout or stderr."""
        deadline = time.monotonic() + seconds
        while text not in self.out and text not in self.err:
            assert self.process.returncode is None, f"ended with {self.process.returncode}: {self.out}{self.err}"
            assert time.monotonic() < deadline, f"no {text!r} in {self.out}{self.err}"
            await asyncio.sleep(0.05)


class Place:
    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rc-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.program = [RAGCHAT]
        self._settings = settings
        self._children: list[Child] = []

    def environment(self, **settings: str) -> dict[str, str]:
        own = {"DATA_DIR": str(self.data), "PORT": str(self.port)}
        kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return kept | {name.upper(): value for name, value in (own | self._settings | settings).items()}

    async def start(self, *arguments: str, program: Sequence[str] = (), **settings: str) -> Child:
        name = self.folder / f"child-{len(self._children)}"
        with name.with_suffix(".out").open("wb") as out, name.with_suffix(".err").open("wb") as err:
            process = await asyncio.create_subprocess_exec(
                *(program or self.program), *arguments, env=self.environment(**settings), cwd=self.folder, stdout=out,
                stderr=err, stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        child = Child(process, name)
        self._children.append(child)
        return child

    async def serve(self, *arguments: str, **settings: str) -> Child:
        child = await self.start("serve", *arguments, **settings)
        await child.until("ragchat is ready")
        return child

    async def serve_slowly(self, **settings: str) -> Child:
        """With the model of slow_service.py."""
        child = await self.start(program=SLOW_SERVICE, **settings)
        await child.until("ragchat is ready")
        return child

    async def run(self, *arguments: str, stdin: str = "", **settings: str) -> Done:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            RAGCHAT, *arguments, env=self.environment(**settings), cwd=self.folder, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(90):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Done(process.returncode or 0, out.decode(), err.decode(), time.monotonic() - began)

    @property
    def key(self) -> str:
        return self._settings.get("api_key") or (self.data / "api_key").read_text().strip()

    def client(self, **options: Any) -> httpx.AsyncClient:
        headers = {"X-API-Key": self.key}
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30, **options)

    def processes(self) -> list[psutil.Process]:
        """Everything alive that names our data folder: the service, PostgreSQL."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(self.data) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def postmaster(self) -> int:
        return int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])

    async def close(self) -> None:
        for child in self._children:
            if child.process.returncode is None:
                child.process.kill()
                await child.process.wait()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def place(**settings: str) -> AsyncIterator[Place]:
    made = Place(**settings)
    try:
        yield made
    finally:
        await made.close()


def spelled(url: str, scheme: str) -> str:
    return scheme + "://" + url.partition("://")[2]


async def rows(url: str, sql: str, *values: Any) -> list[asyncpg.Record]:
    """Straight from the database, past all of our code."""
    connection = await asyncpg.connect(spelled(url, "postgresql"))
    try:
        return list(await connection.fetch(sql, *values))
    finally:
        await connection.close()


async def ended(http: httpx.AsyncClient, id_: str, seconds: float = 45) -> dict[str, Any]:
    """The document, ready or failed."""
    async with asyncio.timeout(seconds):
        while True:
            document: dict[str, Any] = (await http.get(f"/api/v1/documents/{id_}")).json()
            if document["status"] in ("ready", "failed"):
                return document
            await asyncio.sleep(0.1)
