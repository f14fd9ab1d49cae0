"""Every command of the README, run as it is written, by a stranger with a fresh folder."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.readers.suffixes import ALLOWED_SUFFIXES
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
pytestmark = pytest.mark.xdist_group("readme")


def block(name: str) -> str:
    found = re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None, name
    return found.group(1)


@dataclass(frozen=True)
class Stranger:
    folder: Path
    port: int
    printed: str

    def run(self, script: str, *arguments: str) -> str:
        script = script.replace("localhost:8000", f"localhost:{self.port}")
        program = ["bash", "-euo", "pipefail", "-c", script, "readme"]
        done = subprocess.run(
            [*program, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(self.port),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def key(self) -> str:
        return (self.folder / ".data" / "api_key").read_text().strip()


def environment(port: int) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PORT": str(port), "HOME": os.environ.get("HOME", "/")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    folder, port = Path(tempfile.mkdtemp(prefix="readme-")), free_port()
    folder.chmod(0o755)
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / ".venv").symlink_to(sys.prefix)
    with (folder / "printed").open("w") as printed:
        service = subprocess.Popen(
            [".venv/bin/ragchat", "serve"], cwd=folder, stdout=printed, stderr=subprocess.DEVNULL, env=environment(port)
        )
    deadline = time.monotonic() + 60
    while not _ready(port):
        assert service.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield Stranger(folder, port, (folder / "printed").read_text())
    service.send_signal(signal.SIGINT)
    assert service.wait(30) == 0
    shutil.rmtree(folder, ignore_errors=True)


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_first_start_says_where_everything_is(stranger: Stranger) -> None:
    said = README.split("ragchat is ready")[1].split("```")[0]
    labels = [line[2:].split("  ")[0] for line in said.splitlines() if line.startswith("  ")]
    assert len(labels) == 5
    for label in labels:
        assert f"  {label}  " in stranger.printed, label
    assert stranger.key in stranger.printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_first_question(stranger: Stranger) -> None:
    shell = block("shell")
    upload = shell.partition("# a session")[0]
    stranger.run(upload)
    deadline = time.monotonic() + 30
    with httpx.Client(base_url=f"http://127.0.0.1:{stranger.port}", headers={"X-API-Key": stranger.key}) as http:
        while http.get("/api/v1/documents").json()["items"][0]["status"] != "ready":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    printed = stranger.run(shell)
    for said in ("immediately notify their supervisor", '"llm_used":false', '"finish_reason":"stop"', '"page":6'):
        assert said in printed, said
    shown = json.loads(README.split("The answer, shortened:")[1].split("```")[1].removeprefix("json"))["sources"][0]
    given = json.loads(printed[printed.rindex('{"items":') :])["items"][-1]["sources"][0]
    assert {name: given[name] for name in shown} == shown | {"score": pytest.approx(shown["score"], abs=0.01)}


def test_command_line(stranger: Stranger) -> None:
    printed = stranger.run(block("cli"))
    assert "0 failed" in printed
    assert "employee_handbook.pdf, page 9" in printed
    assert "immediately notify their supervisor" in printed
    assert "ok  embedding model" in printed


def test_operators_commands(stranger: Stranger) -> None:
    stranger.run(".venv/bin/ragchat ingest examples")
    printed = stranger.run(block("operator"))
    assert "all-MiniLM-L6-v2" in printed


def test_formats_are_those_that_are_read() -> None:
    said = README.split("## Documents")[1].split("told\napart")[0]
    others = {".markdown", ".htm"}  # other spellings
    assert set(re.findall(r"`(\.\w+)`", said)) == set(ALLOWED_SUFFIXES) - others


async def test_websocket(stranger: Stranger) -> None:
    stranger.run(".venv/bin/ragchat ingest examples")
    headers = {"X-API-Key": stranger.key}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stranger.port}/api/v1", headers=headers) as http:
        session = (await http.post("/sessions", json={"user_id": "ravi"})).json()["id"]
    (stranger.folder / "client.py").write_text(block("python").replace("localhost:8000", f"localhost:{stranger.port}"))
    printed = await asyncio.to_thread(stranger.run, '.venv/bin/python client.py "$1" "$2"', session, stranger.key)
    assert printed.startswith("<ready><turn_started><status><sources>")
    assert "immediately notify their supervisor" in printed
    assert printed.endswith("<assistant_message><done>")


def test_links_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))):
        page = ROOT / name
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)", re.sub(r"`[^`\n]+`", "", page.read_text())):
            assert (page.parent / target).exists(), f"{name}: {target}"


def test_what_is_said_to_be_missing_is_missing() -> None:
    """When one of these is built, the README must say so."""
    for part in ("providers/speech", "providers/translation", "services/scenarios.py"):
        assert not (ROOT / "app" / part).exists(), part
