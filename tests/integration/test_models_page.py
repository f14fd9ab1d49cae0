"""Every command of docs/models.md, and every setting of it, against the stand-in that the page itself starts."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.core.settings import Settings
from app.providers.llm.budgets import Budgets
from app.providers.llm.errors import REASONS
from app.runtime import make_models
from tests.conftest import ROOT
from tests.integration.processes import free_port
from tests.stand_in import ENVIRONMENT

PAGE = (ROOT / "docs" / "models.md").read_text()
RUN = ("ask", "stand-in", "point", "modes", "change", "help")
pytestmark = [
    pytest.mark.xdist_group("models_page"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]


def block(name: str, kind: str = "run") -> str:
    found = re.search(rf"<!-- {kind}: {name} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name
    return found.group(1)


@dataclass(frozen=True)
class Reader:
    folder: Path
    port: int

    def spelled(self, script: str) -> str:
        return script.replace("9009", str(self.port))

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return kept | {name: ENVIRONMENT[name] for name in ("AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE")}

    def run(self, name: str, **settings: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.spelled(block(name))],
            cwd=self.folder,
            env=self.environment() | settings,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader(Path(tempfile.mkdtemp(prefix="models-")), free_port())
    for name, target in (("tools", ROOT / "tools"), (".venv", Path(sys.prefix))):
        (made.folder / name).symlink_to(target)
    with (made.folder / "printed").open("w") as printed:
        child = subprocess.Popen(
            ["bash", "-c", "exec " + made.spelled(block("stand-in"))],
            cwd=made.folder, env=made.environment(), stdout=printed, stderr=printed,
        )  # fmt: skip
    deadline = time.monotonic() + 20
    while "listens on" not in (made.folder / "printed").read_text():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield made
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == 0
    shutil.rmtree(made.folder, ignore_errors=True)


def test_no_command_is_left_out() -> None:
    assert tuple(re.findall(r"<!-- run: (\S+) -->", PAGE)) == RUN
    assert PAGE.count("```sh") == len(re.findall(r"<!-- (?:run|settings): \S+ -->\n```sh\n", PAGE))


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("bedrock", ["bedrock/your-model-id"]),
        ("openai", ["openai/your-model"]),
        ("ollama", ["openai/your-model"]),
        ("vllm", ["openai/your-model"]),
        ("several", ["openai/your-model", "bedrock/your-model-id", "bedrock/another-model-id"]),
    ],
)
def test_settings(tmp_path: Path, name: str, models: list[str]) -> None:
    (tmp_path / ".env").write_text(block(name, "settings"))
    chain = make_models(Settings(_env_file=tmp_path / ".env"))
    assert chain is not None
    assert chain.names == models


def test_nothing_is_configured_at_first(reader: Reader) -> None:
    assert reader.run("ask").splitlines() == [
        "no language model is configured: answers are put together from the documents",
        "[]",
    ]


def test_ask(reader: Reader) -> None:
    settings = {"OPENAI_BASE_URL": f"http://127.0.0.1:{reader.port}/v1", "OPENAI_MODEL": "stand-in.tokens:count=5"}
    shown, answer, told = reader.run("ask", **settings).splitlines()
    assert shown.startswith("ok  openai/stand-in.tokens:count=5  first word after ")
    assert shown.endswith(": stop, 5 tokens")
    assert answer.strip() == "'1 2 3 4 5 '"
    (outcome,) = json.loads(told)
    assert (outcome["finish_reason"], outcome["reason"]) == ("stop", "")


def test_point(reader: Reader) -> None:
    printed = reader.run("point")
    assert "ok  bedrock/stand-in  first word" in printed
    assert "ok  openai/stand-in  first word" in printed
    assert printed.count("stop, 2000 tokens") == 2


def test_modes(reader: Reader) -> None:
    printed = reader.run("modes")
    assert "NO  openai/stand-in.throttle  throttled after" in printed
    assert re.search(r"NO  openai/stand-in.cut:after=3  first word .*: interrupted\n    '1 2 3 '", printed)
    assert "NO  openai/stand-in.unavailable  unavailable after" in printed
    assert "ok  openai/stand-in.tokens:count=5  first word" in printed


def test_change(reader: Reader) -> None:
    printed = reader.run("change")
    assert '{"mode": "hang-mid"}{"mode": "say"}{"total": ' in printed
    body = {"model": "my-model", "messages": []}
    said = httpx.post(f"http://127.0.0.1:{reader.port}/v1/chat/completions", json=body, trust_env=False).json()
    assert said["choices"][0]["message"]["content"] == "See [this](https://example.com)."
    httpx.put(f"http://127.0.0.1:{reader.port}/_mode", content=b"tokens", trust_env=False)


def test_help(reader: Reader) -> None:
    printed = reader.run("help")
    for mode in ("tokens", "hang-before", "bad-crc", "half-503"):
        assert re.search(rf"^  {mode} ", printed, re.MULTILINE)


def test_every_reason_is_told() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert told == {*REASONS, "no_language_model", "fallback_reason"}


def test_the_figures_are_those_of_the_code() -> None:
    budgets = Budgets()
    table = PAGE.split("## What happens")[1].split("Before the first word")[0]
    for figure in (budgets.connect, budgets.first_token, budgets.start, budgets.idle, budgets.total):
        assert f"{figure:.0f} " in table
    assert f"{budgets.chars:,} characters or {budgets.chars_a_token} for each" in table
