"""House rules that a machine can check; the import layers are checked by `make imports`."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

APP = ROOT / "app"
UOW = re.compile(r"attr='(_?uow|_held)'")
NAME_THE_ENGINE = {"runtime.py", "services/health.py", "services/spaces.py", "cli/database.py"}
"""Its type only."""
KNOWN = {
    "fastapi": {"api", "main.py"},
    "starlette": {"api"},
    "sqlalchemy": {"db", "repositories", "models", *NAME_THE_ENGINE},
    "asyncpg": {"db"},
    "openvino": {"providers"},
    "aioboto3": {"providers"},
    "aiobotocore": {"providers"},
    "botocore": {"providers"},
    "aiohttp": {"providers"},
    "httpx": {"providers"},
    "limits": {"providers"},
    "redis": {"providers"},
    "slowapi": {"providers"},
}
"""Who may know whom."""


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(APP.rglob("*.py")):
        yield path.relative_to(APP), ast.parse(path.read_text())


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_libraries_are_known_where_they_belong() -> None:
    for path, tree in modules():
        for name in imported(tree):
            rooms = KNOWN.get(name.partition(".")[0])
            if rooms is not None:
                assert path.parts[0] in rooms or str(path) in rooms, f"{path} imports {name}"


def test_nobody_calls_commit() -> None:
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit":
                allowed = path.parts[:1] == ("db",) or "storage" in path.parts
                assert allowed or path.name in ("documents.py", "corpus.py"), path


def test_services_await_no_provider_inside_a_unit_of_work() -> None:
    """A connection must not be held while a model, a disk or a network thinks."""
    providers = {"_embedder", "_storage", "_model", "_sender", "_embedders", "embedder", "storage"}
    for path, tree in modules():
        if path.parts[0] != "services":
            continue
        for block in ast.walk(tree):
            if not isinstance(block, ast.AsyncWith) or not UOW.search(ast.dump(block.items[0].context_expr)):
                continue
            for node in ast.walk(ast.Module(block.body, [])):
                if isinstance(node, ast.Await):
                    touched = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)} & providers
                    assert not touched, f"{path}:{node.lineno}"


def test_every_noun_has_the_same_name_in_every_layer() -> None:
    for noun in ("sessions", "messages", "documents", "webhooks", "usage"):
        rooms = ("api/routers", "services", "repositories", "models", "schemas")
        assert all((APP / room / f"{noun}.py").exists() for room in rooms), noun


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "tools/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_layer_rules_turn_red(tmp_path: Path) -> None:
    """A service that imports the edge must be seen: the check itself is checked."""
    copy = tmp_path / "app"
    subprocess.run(["cp", "-r", str(APP), str(copy)], check=True)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    check = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    assert subprocess.run(check, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True).returncode == 0
    with (copy / "services" / "sessions.py").open("a") as file:
        file.write("\nfrom app.api import errors as _errors\n")
    broken = subprocess.run(check, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert broken.returncode == 1
    assert "app.services" in broken.stdout


def test_no_words_left_for_later() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    for path in [*APP.rglob("*.py"), *(ROOT / "tools").rglob("*.py")]:
        assert not words.search(path.read_text()), path
