"""`ragchat ingest`: adds files and folders, and sees them through."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.common import COULD_NOT_RUN, command_runtime, load_settings, run, stop
from app.core.caller import Caller
from app.core.errors import RagchatError
from app.core.settings import Settings
from app.readers.suffixes import ALLOWED_SUFFIXES
from app.runtime import Runtime
from app.schemas.documents import DocumentFields, DocumentOut
from app.services.documents import Upload
from app.worker.runner import running_worker

BLOCK_BYTES = 1 << 18
POLL_SECONDS = 0.3
ENDED = {"ready", "failed"}


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders; folders are searched for documents.")],
    collection: Annotated[str | None, typer.Option(help="Put them into this collection.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a document, as it ends.")] = False,
) -> None:
    """Add documents and index them. Run it again after an interruption: what is there is not added twice."""
    files = _find(paths)
    if not files:
        stop(f"no documents found; supported: {', '.join(ALLOWED_SUFFIXES)}")
    settings = load_settings()
    failed = run(lambda: _ingest(settings, files, collection, as_json=as_json))
    raise typer.Exit(1 if failed else 0)


def _find(paths: list[Path]) -> list[Path]:
    """Named files as they are; in folders those with a suffix that we read, hidden ones left out."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in ALLOWED_SUFFIXES and p.is_file())
            found += [p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)]
        elif path.is_file():
            found.append(path)
        else:
            stop(f"there is no {path}", code=COULD_NOT_RUN)
    return found


async def _ingest(settings: Settings, files: list[Path], collection: str | None, *, as_json: bool) -> int:
    report = Report(as_json=as_json)
    async with command_runtime(settings) as (runtime, caller):
        waiting: dict[UUID, Path] = {}
        async with running_worker(runtime, concurrency=settings.worker_concurrency):
            with report.progress(len(files)):
                for path in files:
                    document = await _add(runtime, caller, path, collection, report)
                    if document is not None:
                        waiting[document.id] = path
                await _see_through(runtime, caller, waiting, report)
    report.close()
    return report.failed


async def _add(
    runtime: Runtime, caller: Caller, path: Path, collection: str | None, report: "Report"
) -> DocumentOut | None:
    """None when it was refused, or was there and ready already."""
    upload = Upload(DocumentFields(collection=collection), path.name, _blocks(path), {})
    try:
        document, _ = await runtime.documents.create(caller, upload)
    except RagchatError as exc:
        report.end(path, {"status": "refused", "error": {"code": exc.code, "detail": exc.detail}})
        return None
    if document.status == "ready":
        report.end(path, document.model_dump(mode="json"), already=True)
        return None
    return document


async def _see_through(runtime: Runtime, caller: Caller, waiting: dict[UUID, Path], report: "Report") -> None:
    while waiting:
        for id_, path in [*waiting.items()]:
            document = await runtime.documents.get(caller, id_)
            if document.status in ENDED:
                del waiting[id_]
                report.end(path, document.model_dump(mode="json"))
        await asyncio.sleep(POLL_SECONDS)


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
            yield block


class Report:
    """What the person or the script sees."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(stderr=as_json)
        self._bar = Progress(
            TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self._console, transient=True, disable=as_json,
        )  # fmt: skip
        self.failed = 0
        self._ready = 0
        self._already = 0

    def progress(self, total: int) -> Progress:
        self._task = self._bar.add_task("indexing", total=total)
        return self._bar

    def end(self, path: Path, document: dict[str, Any], *, already: bool = False) -> None:
        error = document.get("error")
        self.failed += error is not None
        self._already += already
        self._ready += error is None and not already
        self._bar.advance(self._task)
        if self._as_json:
            typer.echo(json.dumps({"path": str(path)} | document, ensure_ascii=False))
        elif error is not None:
            self._console.print(f"  {path.name}: {error['code']}. {error['detail']}", markup=False, highlight=False)

    def close(self) -> None:
        if not self._as_json:
            parts = [f"{self._ready} indexed", f"{self._already} there already", f"{self.failed} failed"]
            self._console.print(", ".join(parts), highlight=False)
