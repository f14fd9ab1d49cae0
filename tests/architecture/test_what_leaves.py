"""Whoever sends text to a language model masks it first, and is known here."""

import ast
import re

from tests.conftest import ROOT

APP = ROOT / "app"
MODELS = re.compile(r"(^|[._])(models?|chain)$")
MASKING = {"services/answering.py": "covered(", "services/background_prompts.py": ".cover(", "cli/models.py": "mask("}
"""Who asks a model, and the call that masks."""


def asking() -> set[str]:
    found = set()
    for path in APP.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if (
                isinstance(called, ast.Attribute)
                and called.attr == "stream"
                and MODELS.search(ast.unparse(called.value))
            ):
                found.add(path.relative_to(APP).as_posix())
    return found


def test_nobody_asks_a_model_behind_the_back_of_masking() -> None:
    within = {"providers/llm/call.py"}
    assert asking() - within == set(MASKING)
    for name, call in MASKING.items():
        assert call in (APP / name).read_text(), name
