"""The stand-in for language model servers as a child process, and the models that ask it."""

import contextlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "the-secret-of-the-tests",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""Credentials and a region, and nothing of the machine's own. The stand-in looks at none of them."""
_numbers = count(1)


@dataclass(frozen=True)
class StandIn:
    url: str

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def model(self, mode: str) -> str:
        """A model id for this mode that nobody else uses, so that its requests are counted apart."""
        return f"stand-in.{mode}:id={next(_numbers)}" if not mode.startswith("say:") else f"stand-in.{mode}"

    def asked(self, model: str) -> dict[str, Any]:
        """What is known of requests for this model: count, open, hung_up, last, recent, headers."""
        models: dict[str, dict[str, Any]] = self._get("/_requests")["models"]
        return models.get(model, {"count": 0, "open": 0, "hung_up": 0, "last": {}, "recent": [], "headers": {}})

    def count(self, model: str) -> int:
        return int(self.asked(model)["count"])

    def set_mode(self, model: str, mode: str) -> None:
        """From now on, for requests for this model."""
        httpx.put(f"{self.url}/_mode/{model}", content=mode.encode(), trust_env=False).raise_for_status()

    def _get(self, path: str) -> Any:
        return httpx.get(self.url + path, trust_env=False).json()


@contextlib.contextmanager
def stand_in_server(*arguments: str) -> Iterator[StandIn]:
    """Ends with the process that started it, however that ends: its standard input closes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tools.stand_in", "--port", "0", "--with-parent", *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    with child:
        try:
            yield StandIn(child.stdout.readline().split()[-1])
        finally:
            child.kill()


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    with stand_in_server() as started:
        yield started


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in urllib.request.getproxies():
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
