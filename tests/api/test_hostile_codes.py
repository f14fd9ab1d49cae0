"""docs/errors.md names every code that the program uses, with its status, and no other."""

import ast
import re
from collections.abc import Iterator

from app.api.errors import HTTP_ERROR, HTTP_PROBLEMS, STATUS
from app.api.validation import SENTENCES as FIELD_SENTENCES
from app.core import errors
from app.core.errors import RagchatError
from app.readers.errors import _KINDS, SENTENCES
from app.worker.tasks import WORKER_DIED
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "errors.md"
ROW = re.compile(r"^\| `([a-z_]+)` \|([^|]*)\| (.+) \|$", re.MULTILINE)
WORD = re.compile(r"[a-z]+(?:_[a-z]+)*")
CLASSES = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, RagchatError)]
KINDS = {thing.__name__: thing.kind for thing in CLASSES}
EDGE = {"Refusal", "problem_response", "problem"}
OTHERS = {"PydanticCustomError", "bad_frame", "error_fields"}


def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text()) for path in sorted((ROOT / "app").rglob("*.py"))]


def subclasses(modules: list[ast.Module]) -> set[str]:
    """Every class that derives from RagchatError, also those outside of core."""
    names, before = set(KINDS), 0
    while len(names) > before:
        before = len(names)
        for module in modules:
            for node in ast.walk(module):
                if isinstance(node, ast.ClassDef) and {b.id for b in node.bases if isinstance(b, ast.Name)} & names:
                    names.add(node.name)
    return names


def literals(node: ast.expr | None) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value):
        yield node.value


def codes_in(node: ast.AST, raised: set[str]) -> Iterator[tuple[str, str]]:
    """(class or function, code)"""
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        given = node.args if name in EDGE else node.args[:1] if name in raised | OTHERS else []
        given = [*given, *(k.value for k in node.keywords if k.arg == "code" and name in raised)]
        yield from ((name, code) for argument in given for code in literals(argument))
    elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "default_code" for t in node.targets):
        yield from (("", code) for code in literals(node.value))
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "error_code":
                yield from (("", code) for code in literals(value))


def used() -> set[tuple[str, str]]:
    modules = trees()
    raised = subclasses(modules)
    return {found for module in modules for node in ast.walk(module) for found in codes_in(node, raised)}


def page() -> dict[str, list[str]]:
    """code: its statuses, in each table where it stands."""
    rows: dict[str, list[str]] = {}
    for code, status, _ in ROW.findall(PAGE.read_text()):
        rows.setdefault(code, []).extend(re.findall(r"\d{3}", status))
    return rows


def test_the_search_finds_what_it_should() -> None:
    found = {code for _, code in used()}
    assert {"too_large", "bad_frame", "url_too_long", "invalid_range", "empty_content", "interrupted"} <= found
    assert len(found) > 50


def test_every_code_is_on_the_page_and_every_row_is_a_code() -> None:
    codes = {code for _, code in used()} | {*SENTENCES, *FIELD_SENTENCES}
    codes |= {WORKER_DIED, *(code for code, _ in [*HTTP_PROBLEMS.values(), HTTP_ERROR])}
    documented = set(page())
    assert codes - documented == set(), "add them to docs/errors.md"
    assert documented - codes == set(), "nothing uses these any more"


def test_the_status_on_the_page_is_the_one_that_is_sent() -> None:
    rows = page()
    for name, code in used():
        if name in KINDS and rows[code] and name != "RagchatError":  # those with no status never reach a client
            assert str(STATUS[KINDS[name]]) in rows[code], f"{name}({code})"
    for thing in CLASSES:
        assert str(STATUS[thing.kind]) in rows[thing.default_code]
    for status, (code, _) in HTTP_PROBLEMS.items():
        assert str(status) in rows[code]
    for code in ("unsupported_type", "type_mismatch", "empty_file"):
        assert str(STATUS.get(_KINDS.get(code, errors.Kind.INVALID), 0)) in rows[code]
