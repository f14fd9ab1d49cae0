"""docs/openai.md: every block run as it is written, by a stranger with a fresh folder."""

import json
import re
import shutil

import httpx
import pytest

from app.api.errors import STATUS
from app.api.openai_errors import openai_error
from app.core.errors import Kind
from app.services.completions import model_not_found
from app.services.embeddings import NAME
from tests.conftest import ROOT
from tests.integration import test_readme
from tests.integration.test_readme import Stranger

PAGE = (ROOT / "docs" / "openai.md").read_text()
SAID = "immediately notify their supervisor"
pytestmark = pytest.mark.xdist_group("readme")
stranger = test_readme.stranger


def block(name: str) -> str:
    found = re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name
    return found.group(1)


@pytest.fixture(scope="module")
def asking(stranger: Stranger) -> Stranger:
    stranger.run(".venv/bin/ragchat ingest examples")
    return stranger


def run_python(stranger: Stranger, name: str) -> str:
    (stranger.folder / f"{name}.py").write_text(block(name).replace("localhost:8000", f"localhost:{stranger.port}"))
    return stranger.run(f".venv/bin/python -W error {name}.py")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(asking: Stranger) -> None:
    printed = asking.run(block("curl"))
    models, rest = printed.split("]}", 1)
    assert [model["id"] for model in json.loads(models + "]}")["data"]] == ["ragchat", "ragchat-plain"]
    whole, _, streamed = rest.partition("data: ")
    assert SAID in json.loads(whole)["choices"][0]["message"]["content"]
    assert streamed.endswith("data: [DONE]\n\n")


def test_sdk(asking: Stranger) -> None:
    printed = run_python(asking, "sdk")
    assert SAID in printed
    assert re.search(r"employee_handbook\.pdf http://localhost:\d+/api/v1/documents/\S+#page=6 .*workplace", printed)
    assert "1 employee_handbook.pdf 6 0." in printed
    assert "all-MiniLM-L6-v2 384" in printed
    with httpx.Client(base_url=f"http://localhost:{asking.port}", headers={"X-API-Key": asking.key}) as http:
        newest = http.get("/api/v1/sessions").json()["items"][0]
        assert newest["metadata"] == {"via": "openai"}
        assert http.get(f"/api/v1/sessions/{newest['id']}/messages").json()["total"] == 4


def test_langchain(asking: Stranger) -> None:
    printed = run_python(asking, "langchain")
    assert printed.count(SAID) == 2
    assert printed.endswith("384\n")


def test_open_webui_block_is_the_address() -> None:
    assert "OPENAI_API_BASE_URL=http://localhost:8000/v1\n" in PAGE


def test_what_is_said_of_errors() -> None:
    told = json.loads(PAGE.split("```json\n")[1].split("```")[0])
    missing = model_not_found()
    assert told == openai_error(404, missing.code, missing.detail) | {"error": told["error"]}
    assert told["error"] | {"param": None} == openai_error(404, missing.code, missing.detail)["error"]
    sentence = PAGE.split("`type` is")[1].split("A stream")[0]
    for kind in (Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.RATE_LIMITED, Kind.UNAVAILABLE, Kind.INVALID):
        assert f"`{openai_error(STATUS[kind], 'a', 'b')['error']['type']}`" in sentence
    assert f"called `{NAME}`" in PAGE
