"""Files and functions stay short enough to be read at once."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

LONGEST_FILE = 300
LONGEST_FUNCTION = 40
FILES = [path for folder in ("app", "tools", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_functions_are_short(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            assert (node.end_lineno or 0) - first < LONGEST_FUNCTION + 1, f"{node.name} is too long"
