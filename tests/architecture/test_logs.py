"""What is logged anywhere in the code is on the list of app/core/log_fields.py."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from app.core.log_fields import EVENT, FIELDS
from tests.architecture.test_rules import modules

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
SPREAD = {"services/turn_writer.py": "draft.timing"}
"""Where a mapping of ours becomes fields."""


class Call(NamedTuple):
    place: str
    node: ast.Call


def log_calls(path: Path, tree: ast.Module) -> Iterator[Call]:
    """Of loggers, however they are reached; `bind` and its kin are none of ours but for the middleware's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = ast.unparse(node.func.value)
            is_logger = of in {"log", "logger", "self._log"} or of.startswith("get_logger(")
            if (node.func.attr in LEVELS and is_logger) or node.func.attr.endswith("bind_contextvars"):
                yield Call(f"{path}:{node.lineno}", node)


def faults(call: Call) -> Iterator[str]:
    node = call.node
    if node.args and not (isinstance(node.args[0], ast.Constant) and EVENT.fullmatch(str(node.args[0].value))):
        yield "an event is a name, written out"
    if len(node.args) > 1:
        yield "values are fields, not arguments"
    for keyword in node.keywords:
        if keyword.arg is None:
            if SPREAD.get(call.place.partition(":")[0]) != ast.unparse(keyword.value):
                yield f"unknown mapping: {ast.unparse(keyword.value)}"
        elif keyword.arg not in FIELDS and keyword.arg != "exc_info":
            yield f"not on the list: {keyword.arg}"


def test_every_field_is_on_the_list() -> None:
    calls = [call for path, tree in modules() for call in log_calls(path, tree)]
    assert len(calls) > 60
    assert [(call.place, fault) for call in calls for fault in faults(call)] == []


def test_only_one_logger_is_used() -> None:
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "logging.getLogger", "warnings.warn"}:
                assert path.parts[0] == "cli" or str(path) == "core/logging.py", f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "line",
    [
        'log.info("thing.done", title=title)',
        'log.info(f"it was {title}")',
        'log.warning("thing.done", **fields)',
        'log.info("thing %s", title)',
        'log.error("thing.done", title)',
        'get_logger(__name__).info("Thing done")',
        "structlog.contextvars.bind_contextvars(user=name)",
    ],
)
def test_the_check_turns_red(line: str) -> None:
    (call,) = log_calls(Path("any.py"), ast.parse(line))
    assert [*faults(call)]
