import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.core.logging import configure_logging, get_logger


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
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
