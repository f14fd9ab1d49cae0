"""The child process: what it may cost, what it may say, and that none is left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import uvloop

from app.readers import READERS
from app.readers.document import Document
from app.readers.errors import UnreadableDocument
from app.readers.isolated import read_isolated
from app.readers.limits import Limits
from tests.reading import fork_server, reading_processes
from tests.unit.readers import files
from tests.unit.readers.files import DOCUMENTS, ROOT, paragraph
from tests.unit.readers.variants import sample

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs limits that only Linux enforces")


@pytest.fixture(autouse=True)
def no_children_left() -> Iterator[None]:
    yield
    assert not reading_processes(os.getpid())


def stored(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "--help; $(id)"
    path.write_bytes(data)
    return path


async def code_of(path: Path, kind: str, limits: Limits | None = None) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        await read_isolated(path, kind, limits or Limits())
    return caught.value.code


async def test_each_kind_is_read_in_its_child(tmp_path: Path) -> None:
    for kind in READERS:
        (tmp_path / kind).write_bytes(sample(kind))
    made = await asyncio.gather(*(read_isolated(tmp_path / kind, kind) for kind in READERS))
    assert [document.kind for document in made] == list(READERS)
    assert all(document.text.strip() for document in made)
    assert {document.kind for document in made if document.pages[0].number == 1} == {"pdf", "pptx"}


async def test_pages_titles_and_warnings_come_back_as_the_reader_made_them(tmp_path: Path) -> None:
    whole = await read_isolated(stored(tmp_path, files.pdf(["one", "", "three"])), "pdf")
    assert [(page.number, page.text) for page in whole.pages] == [(1, "one"), (2, ""), (3, "three")]
    assert whole.warnings == ["1 of 3 pages hold no text."]
    text = '# తెలుగు \\ "quoted" 😀\n' + "long " * 100_000
    assert await read_isolated(stored(tmp_path, text.encode()), "md") == Document(
        "md", [type(whole.pages[0])(None, text)], 'తెలుగు \\ "quoted" 😀'
    )


async def test_typed_failures_keep_their_code(tmp_path: Path) -> None:
    bomb = files.docx(paragraph("x"), extra={"word/zeros.bin": bytes(20_000_000)})
    path = stored(tmp_path, bomb)
    assert await code_of(path, "docx") == "archive_bomb"
    assert await code_of(DOCUMENTS / "r3-user-password.pdf", "pdf") == "encrypted"
    assert await code_of(path, "exe") == "unsupported_type"
    assert await code_of(stored(tmp_path, b""), "txt") == "empty_file"


async def test_text_and_pages_are_bounded(tmp_path: Path) -> None:
    assert await code_of(stored(tmp_path, b"x" * 300_000), "txt", Limits(max_text_bytes=200_000)) == "too_large"
    assert await code_of(stored(tmp_path, files.pdf(["x"] * 4)), "pdf", Limits(max_pages=3)) == "too_many_pages"


async def test_a_missing_file_is_not_the_documents_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await read_isolated(tmp_path / "gone", "txt")


async def test_time_out_kills_the_child(tmp_path: Path) -> None:
    began = time.perf_counter()
    assert await code_of(stored(tmp_path, slow_pdf()), "pdf", Limits(wall_seconds=0.4)) == "parser_timeout"
    assert time.perf_counter() - began < 3


@LINUX_ONLY
async def test_processor_time_is_limited_too(tmp_path: Path) -> None:
    assert await code_of(stored(tmp_path, slow_pdf()), "pdf", Limits(cpu_seconds=1)) == "parser_timeout"


@LINUX_ONLY
async def test_running_out_of_memory_is_a_crash_of_the_child_only(tmp_path: Path) -> None:
    limits = Limits(memory_bytes=80 * 2**20)
    assert await code_of(stored(tmp_path, b"a" * 60_000_000), "txt", limits) == "parser_crashed"


async def test_cancelling_kills_the_child_and_reaps_it(tmp_path: Path) -> None:
    task = asyncio.create_task(read_isolated(stored(tmp_path, slow_pdf()), "pdf"))
    child = await running_child(os.getpid())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not child.is_running()


@LINUX_ONLY
async def test_a_child_killed_from_outside_is_a_crash(tmp_path: Path) -> None:
    task = asyncio.create_task(read_isolated(stored(tmp_path, slow_pdf()), "pdf"))
    (await running_child(os.getpid())).kill()
    with pytest.raises(UnreadableDocument) as caught:
        await task
    assert caught.value.code == "parser_crashed"
    assert caught.value.__notes__ == [f"the reading process ended with status {-signal.SIGKILL}"]


@LINUX_ONLY
async def test_the_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, sys\nfrom app.readers.isolated import read_isolated\n"
        "asyncio.run(read_isolated(pathlib.Path(sys.argv[1]), 'pdf'))"
    )
    path = stored(tmp_path, slow_pdf())
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(path), cwd=ROOT)
    child = await running_child(parent.pid)
    parent.kill()
    await parent.wait()
    for _ in range(200):
        if not child.is_running() or child.status() == psutil.STATUS_ZOMBIE:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the child outlived its parent")


async def test_the_child_is_told_no_name_and_has_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "not-for-parsers")
    task = asyncio.create_task(read_isolated(stored(tmp_path, slow_pdf()), "pdf"))
    child = await running_child(os.getpid())
    command, environment, group = child.cmdline(), child.environ(), os.getpgid(child.pid)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any("--help" in argument for argument in command)
    assert "API_KEY" not in environment
    assert group == child.pid


async def test_the_fork_server_is_replaced_when_it_is_gone(tmp_path: Path) -> None:
    await read_isolated(stored(tmp_path, b"hello"), "txt")
    before = fork_server(os.getpid())
    assert before is not None
    reading = asyncio.create_task(read_isolated(stored(tmp_path, slow_pdf()), "pdf"))
    child = await running_child(os.getpid())
    before.kill()
    with pytest.raises(UnreadableDocument, match="parser_crashed"):
        await reading
    await asyncio.to_thread(child.wait, 5)
    assert (await read_isolated(stored(tmp_path, b"hello"), "txt")).text == "hello"
    after = fork_server(os.getpid())
    assert after is not None
    assert after.pid != before.pid


def test_it_ends_with_the_program(tmp_path: Path) -> None:
    path = stored(tmp_path, b"hello")
    program = (
        "import asyncio, os, pathlib, sys\nfrom app.readers.isolated import read_isolated\n"
        "asyncio.run(read_isolated(pathlib.Path(sys.argv[1]), 'txt'))\nos.write(1, b'.')\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.read(1)
        forks = fork_server(parent.pid)
        assert forks is not None
    assert not forks.is_running()


async def test_a_document_cannot_reach_what_belongs_to_another(tmp_path: Path) -> None:
    """A reading process has three open files and no way to whoever forks."""
    first = asyncio.create_task(read_isolated(stored(tmp_path, slow_pdf()), "pdf"))
    child = await running_child(os.getpid())
    second = asyncio.create_task(read_isolated(stored(tmp_path, slow_pdf()), "pdf"))
    await asyncio.sleep(0.3)
    for each in reading_processes(os.getpid()):
        assert len(os.listdir(f"/proc/{each.pid}/fd")) == each.num_fds() <= 4
    assert len(reading_processes(os.getpid())) == 2
    assert child.is_running()
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


def test_what_is_opened_after_a_document_was_read_stays_open(tmp_path: Path) -> None:
    """By the loop that a service has: its transports for pipes close a descriptor twice."""
    path = stored(tmp_path, b"one")

    async def opened_since() -> list[int]:
        await read_isolated(path, "txt")
        descriptors = [os.open(path, os.O_RDONLY) for _ in range(16)]
        for _ in range(10):
            await asyncio.sleep(0)
        return descriptors

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(3):
            for descriptor in runner.run(opened_since()):
                assert os.fstat(descriptor).st_ino == path.stat().st_ino
                os.close(descriptor)


def test_the_fork_server_loads_nothing_of_the_service() -> None:
    """And of the readers what they need, when they need it."""
    code = "import sys, app.readers.fork_server; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    heavy = {"asyncio", "fastapi", "pydantic", "sqlalchemy", "openvino", "numpy", "lxml", "pypdf", "pypdfium2", "docx"}
    assert not heavy & set(loaded.stdout.split())


def test_the_lines_of_the_child_are_short_json() -> None:
    code = "import json, os, sys; from app.readers import child; child.read(json.loads(sys.argv[1]), os.getppid())"
    command = [sys.executable, "-c", code, json.dumps({"kind": "txt", "limits": asdict(Limits())})]
    done = subprocess.run(command, input=b'"\\' * 200_000, cwd=ROOT, capture_output=True, check=True)
    lines = done.stdout.splitlines()
    assert json.loads(lines[0]) == {"page": None}
    assert json.loads(lines[-1]) == {"end": {"title": None, "warnings": []}}
    assert max(len(line) for line in lines) < 2**18


async def running_child(parent: int) -> psutil.Process:
    """The reading process of `parent`, once it is at work."""
    for _ in range(500):
        for child in reading_processes(parent):
            await asyncio.sleep(0.2)
            return child
        await asyncio.sleep(0.01)
    raise AssertionError("no reading process was started")


def slow_pdf() -> bytes:
    """Takes PDFium many seconds: a form that draws itself ten times over, eight levels deep."""
    deepest, levels = 4, 8
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<</XObject<</X 4 0 R>>>>/Contents 12 0 R>>",
    ]
    for level in range(deepest, deepest + levels):
        content = "/X Do " * 10 if level < deepest + levels - 1 else "BT ET"
        objects.append(
            f"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X {level + 1} 0 R>>>>"
            f"/Length {len(content)}>>stream\n{content}\nendstream"
        )
    objects.append("<</Length 5>>stream\n/X Do\nendstream")
    return files.pdf_of_objects(objects)
