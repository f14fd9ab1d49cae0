import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn

from app.core.log_fields import FIELDS, allow_listed
from app.core.logging import SAID, configure_logging, get_logger


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.raiseExceptions = True
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored")
def test_one_json_object_a_line_with_the_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        get_logger("test").info("thing.done", count=3, title="x\nERROR \x1b[31m")
    logging.getLogger("sqlalchemy.engine").info("SELECT secret")
    (line,) = capsys.readouterr().err.splitlines()
    data = json.loads(line)
    assert (data["event"], data["count"], data["request_id"], data["level"]) == ("thing.done", 3, "r-1", "info")
    assert data["timestamp"].endswith("Z")


@pytest.mark.usefixtures("restored")
def test_an_exception_is_told_by_type_and_place_and_not_by_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    for style in ("json", "pretty"):
        configure_logging("INFO", style)
        try:
            try:
                int("canary-1")
            except ValueError as exc:
                raise RuntimeError("canary-2") from exc
        except RuntimeError:
            get_logger("test").exception("thing.failed")
            logging.getLogger("other").exception("it broke")
        printed = capsys.readouterr().err
        assert printed.count("RuntimeError") == printed.count("ValueError") == 2
        assert "test_logging.py" in printed
        assert "canary" not in printed


@pytest.fixture
def said(restored: None) -> Callable[[], dict[str, Any]]:
    """The one line that was logged."""
    configure_logging("DEBUG", "json")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream := io.StringIO())

    def read() -> dict[str, Any]:
        (line,) = stream.getvalue().splitlines()
        return dict(json.loads(line))

    return read


Said = Callable[[], dict[str, Any]]


def test_fields_that_nobody_agreed_to_are_left_out(said: Said) -> None:
    get_logger("test").info("thing.done", title="canary", count=3, question="canary")
    line = said()
    assert (line["count"], line["left_out"]) == (3, 2)
    assert "canary" not in str(line)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("code", "What is my balance?"),
        ("code", "x\nERROR user=admin"),
        ("reason", "too many \x1b[31m"),
        ("reason", "A sentence of somebody"),
        ("model", "my name is Ravi"),
        ("turn_id", "ravi@shop.example"),
        ("turn_id", "0192f0c1-2b3c-7def-8123-456789abcdeF"),
        ("user_id", "ravi"),
        ("count", "three"),
        ("count", [1]),
        ("route", "/api/v1/sessions?q=a"),
        ("method", "CANARY"),
        ("status", "done: ok"),
        ("request_id", "a b"),
        ("error", "ValueError: canary"),
        ("model", "a" * 129),
    ],
)
def test_values_that_may_be_text_are_replaced(said: Said, field: str, value: object) -> None:
    get_logger("test").info("thing.done", **{field: value})
    assert said()[field] == "(unfit)"


def test_an_event_is_a_name(said: Said) -> None:
    get_logger("test").info("The question was: canary")
    assert said()["event"] == "(unfit)"


def test_of_a_library_only_the_place_is_told(said: Said) -> None:
    logging.getLogger("boto").warning("body: %s", "canary")
    line = said()
    assert (line["event"], line["logger"], line["level"]) == ("library", "boto", "warning")
    assert line["at"].startswith("test_logging.py:")
    assert "canary" not in str(line)


def test_sentences_that_are_known_are_told(said: Said) -> None:
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert said()["said"] == "Invalid HTTP request received."


@pytest.mark.parametrize("sentence", sorted(SAID))
def test_known_sentences_are_the_servers(sentence: str) -> None:
    assert any(repr(sentence)[1:-1] in path.read_text() for path in Path(uvicorn.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("name", ["boto", "redis", "aiohttp", "urllib3", "asyncio", "sqlalchemy.engine", "passlib"])
def test_libraries_say_nothing_below_a_warning(name: str, capsys: pytest.CaptureFixture[str], restored: None) -> None:
    configure_logging("DEBUG", "json")
    logging.getLogger(name).info("canary")
    logging.getLogger(name).debug("canary")
    assert capsys.readouterr().err == ""


def test_a_record_that_cannot_be_formatted_prints_nothing_of_itself(
    capsys: pytest.CaptureFixture[str], restored: None
) -> None:
    configure_logging("DEBUG", "json")
    logging.getLogger("boto").warning("%d", "canary")
    assert "canary" not in capsys.readouterr().err


def test_strays_are_told_without_their_messages() -> None:
    """In a process of its own: the hooks are Python's."""
    code = """
import threading, warnings
from app.core.logging import catch_strays, configure_logging
configure_logging("DEBUG", "json")
catch_strays()
class Fault:
    def __del__(self): raise ValueError("canary")
def run(): raise ValueError("canary")
del (fault := [Fault()])[0]
thread = threading.Thread(target=run); thread.start(); thread.join()
warnings.warn("canary")
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["finaliser.fault", "thread.fault", "library"]
    assert events[0]["error"][0].startswith("builtins.ValueError in <string>:")
    assert "canary" not in done.stdout + done.stderr


def test_the_example_of_the_page_holds_what_is_logged() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "logging.md").read_text()
    example = json.loads(page.partition("```json\n")[2].partition("```")[0])
    shown = {name: value for name, value in example.items() if name not in ("request_id", "timestamp")}
    assert allow_listed(None, "", dict(shown)) == shown
    assert set(example) - {"event", "level", "logger", "timestamp"} <= set(FIELDS)
